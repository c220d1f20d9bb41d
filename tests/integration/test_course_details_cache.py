"""Course details over HTTP: cached, and never old once a change was answered."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from api_gateway.course_details_cache import LEASE_SECONDS, NOT_CACHED, etag_of
from api_gateway.database import Database
from api_gateway.resources.course_details import matches_tag
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.domain.model import Mode
from enrollment.storage import course_edition, courses
from schemas.courses import dump_details as upstreams_form
from tests.support.courses import save
from tests.support.small_gateway import ALGEBRA, KEY, NOON, PATH


def test_details_come_in_upstreams_form_with_upstreams_headers(sessions, course_gateway):
    save(sessions, ALGEBRA)

    response = course_gateway.http.simulate_get(PATH)

    assert response.status_code == 200
    assert response.json == upstreams_form(ALGEBRA, at=NOON, include_expired=False)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["vary"] == "Accept"
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"
    assert response.headers["cache-control"] == "public, no-cache"
    assert response.headers["etag"] == etag_of(response.content)


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ("", ["audit"]),
        ("include_expired=", ["audit"]),
        ("include_expired=0", ["audit"]),
        ("include_expired=False", ["audit"]),
        ("include_expired=1", ["audit", "verified"]),
        ("include_expired=true", ["audit", "verified"]),
        ("other=1", ["audit"]),
    ],
)
def test_expired_modes_are_shown_on_demand(sessions, course_gateway, query, slugs):
    save(sessions, ALGEBRA)

    for _ in range(2):
        response = course_gateway.http.simulate_get(PATH, query_string=query)
        assert [mode["slug"] for mode in response.json["course_modes"]] == slugs


@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', '"x" , W/{}', "*"])
def test_who_has_the_answer_already_gets_304(sessions, course_gateway, form):
    save(sessions, ALGEBRA)
    etag = course_gateway.http.simulate_get(PATH).headers["etag"]

    response = course_gateway.http.simulate_get(PATH, headers={"If-None-Match": form.format(etag)})

    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == etag
    assert "cache-control" in response.headers


def test_who_has_another_answer_gets_this_one(sessions, course_gateway):
    save(sessions, ALGEBRA)

    other = {"If-None-Match": '"other"'}
    assert course_gateway.http.simulate_get(PATH, headers=other).status_code == 200
    assert not matches_tag('"a", "b"', '"c"')


def test_head_is_get_without_a_body_and_options_names_the_methods(sessions, course_gateway):
    save(sessions, ALGEBRA)

    head = course_gateway.http.simulate_head(PATH)

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == course_gateway.http.simulate_get(PATH).headers["etag"]
    allowed = course_gateway.http.simulate_options(PATH).headers["allow"]
    assert set(allowed.split(", ")) >= {"GET", "HEAD"}


def test_a_mode_leaves_the_cached_answer_when_its_time_is_over(sessions, start_course_gateway):
    save(
        sessions,
        replace(ALGEBRA, modes=(Mode(slug="pro", expires_at=NOON + timedelta(seconds=5)),)),
    )
    one = start_course_gateway()
    assert one.http.simulate_get(PATH).json["course_modes"][0]["slug"] == "pro"
    one.details.close()

    left = one.cache._redis.pttl(one.cache._redis.keys()[0])

    assert 0 < left <= 5_000


def test_within_a_lease_neither_redis_nor_records_are_asked(sessions, course_gateway):
    save(sessions, ALGEBRA)
    course_gateway.http.simulate_get(PATH)
    save(sessions, replace(ALGEBRA, name="New"))

    body = course_gateway.details.peek((KEY, False)).body
    assert body == course_gateway.http.simulate_get(PATH).content
    assert course_gateway.course_name() == "Algebra"


def test_another_process_is_answered_from_redis(sessions, start_course_gateway):
    save(sessions, ALGEBRA)
    one, two = start_course_gateway(), start_course_gateway()
    content = one.http.simulate_get(PATH).content
    one.details._pool.shutdown(wait=True)
    statements = []
    two.records.read = lambda query, *args: reading(
        statements, Database.read(two.records, query, *args), query
    )

    assert two.http.simulate_get(PATH).content == content
    assert statements == [course_edition.edition]


async def reading(statements, answer, query):
    statements.append(query)
    return await answer


def test_garbage_in_redis_is_read_past(sessions, start_course_gateway):
    save(sessions, ALGEBRA)
    one, two = start_course_gateway(), start_course_gateway()
    content = one.http.simulate_get(PATH).content
    one.details._pool.shutdown(wait=True)
    redis = two.cache._redis
    assert redis.dbsize() == 1
    for key in redis.scan_iter():
        redis.set(key, b'{"course_name": "Forged"}')

    assert two.http.simulate_get(PATH).content == content


def test_many_at_once_ask_once(sessions, course_gateway):
    save(sessions, ALGEBRA)
    asked = []
    read = course_gateway.records.read
    course_gateway.records.read = lambda query, *args: reading(asked, read(query, *args), query)

    async def all_at_once():
        return await asyncio.gather(*(course_gateway.details.get((KEY, False)) for _ in range(50)))

    entries = asyncio.run(all_at_once())

    assert len(set(entries)) == 1
    assert asked == [course_edition.edition, courses.find]


def test_who_goes_away_takes_nothing_from_those_who_wait(sessions, course_gateway):
    save(sessions, ALGEBRA)

    async def one_goes():
        waiting = [asyncio.create_task(course_gateway.details.get((KEY, False))) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        return await asyncio.gather(*waiting, return_exceptions=True)

    gone, *others = asyncio.run(one_goes())

    assert isinstance(gone, asyncio.CancelledError)
    assert [json.loads(entry.body)["course_name"] for entry in others] == ["Algebra"] * 2


def test_what_is_on_its_way_when_the_process_ends_is_dropped_in_silence(course_gateway, caplog):
    async def leave():
        asyncio.create_task(course_gateway.details.get((KEY, False)))  # noqa: RUF006 (nobody waits for it)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(leave())

    assert caplog.records == []


def test_a_lease_holds_no_more_than_its_bound(sessions, course_gateway, monkeypatch):
    save(sessions, ALGEBRA)
    monkeypatch.setattr("api_gateway.course_details_cache.MAX_ENTRIES", 1)

    async def two_in_turn():
        for key in ((KEY, False), (KEY, True), (KEY, False)):
            assert await course_gateway.details.get(key) is not None

    asyncio.run(two_in_turn())

    assert course_gateway.details.peek((KEY, False)) is not NOT_CACHED
    assert course_gateway.details.peek((KEY, True)) is NOT_CACHED


def test_without_records_reading_says_so_and_recovers(sessions, course_gateway, monkeypatch):
    save(sessions, ALGEBRA)

    async def away(*_):
        raise DatabaseUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(course_gateway.records, "read", away)
        with pytest.raises(DatabaseUnavailable):
            asyncio.run(course_gateway.details.get((KEY, False)))

    assert course_gateway.course_name() == "Algebra"


def test_reading_goes_on_without_redis(sessions, start_course_gateway):
    save(sessions, ALGEBRA)
    course_gateway = start_course_gateway("redis://127.0.0.1:1/0")

    assert course_gateway.course_name() == "Algebra"
    course_gateway.clock.seconds += LEASE_SECONDS
    assert course_gateway.course_name() == "Algebra"


def test_a_slow_database_is_read_twice_at_most_and_answers(sessions, course_gateway):
    save(sessions, ALGEBRA)
    read, asked, has_asked = course_gateway.records.read, [], asyncio.Event()

    async def slowly(query, *args):
        asked.append(query)
        has_asked.set()
        answer = await read(query, *args)
        course_gateway.clock.seconds += 10 * LEASE_SECONDS
        return answer

    course_gateway.records.read = slowly

    async def one_comes_late():
        first = asyncio.create_task(course_gateway.details.get((KEY, False)))
        await has_asked.wait()
        course_gateway.clock.seconds += LEASE_SECONDS / 2
        return await asyncio.gather(first, course_gateway.details.get((KEY, False)))

    first, second = asyncio.run(one_comes_late())

    assert first == second
    assert asked.count(course_edition.edition) == 2
