"""Course details and courses over HTTP: cached, and never old once a change was answered."""

import asyncio
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import falcon.asgi
import pytest
from falcon import testing

from api_gateway.course_details import LEASE, UNKEPT, CourseDetails, etag_of
from api_gateway.problems import Problem
from api_gateway.records import Records
from api_gateway.resources.course_details import CourseDetailsResource, names
from api_gateway.resources.courses import CourseResource, CoursesResource
from enrollment.cache import PAUSE, Cache, connect
from enrollment.domain.errors import (
    CourseInUse,
    CourseNotFound,
    EnrollmentError,
    RecordsUnavailable,
)
from enrollment.domain.model import Course, Mode
from enrollment.storage import courses
from enrollment.storage.sessions import Sessions, make_engine
from enrollment.storage.tables import Base, EnrollmentRow
from schemas.courses import details as upstreams_form
from tests.support.servers import redis_process

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
KEY = "course-v1:Uni+ALG+2026"
ALGEBRA = Course(
    course_id=KEY,
    name="Algebra",
    modes=(Mode(slug="audit"), Mode(slug="verified", expires_at=NOON - timedelta(days=1))),
)
PATH = f"/course/{KEY}"
STATUS = {CourseNotFound: HTTPStatus.NOT_FOUND, CourseInUse: HTTPStatus.CONFLICT}


@pytest.fixture(params=["sqlite", "postgresql"])
def sessions(request, tmp_path):
    url = f"sqlite:///{tmp_path}/x.sqlite3"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    engine = make_engine(url)
    Base.metadata.create_all(engine)
    yield Sessions(engine)
    engine.dispose()


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds

    def now(self):
        return NOON + timedelta(seconds=self.seconds)

    async def sleep(self, seconds):
        self.seconds += seconds


class Gateway:
    """One process of the gateway."""

    def __init__(self, sessions, redis_url, clock):
        self.clock = clock
        self.cache = Cache(connect(redis_url), clock=clock)
        self.records = Records(sessions, threads=2)
        self.details = CourseDetails(
            self.records, self.cache, now=clock.now, clock=clock, sleep=clock.sleep
        )
        app = falcon.asgi.App()
        app.add_error_handler(Problem, answer_problem)
        app.add_error_handler(EnrollmentError, answer_error)
        app.add_route("/course/{course_id:path}", CourseDetailsResource(self.details))
        app.add_route("/courses/{course_id:path}", CourseResource(self.records, self.details))
        app.add_route("/courses", CoursesResource(self.records, self.details))
        self.http = testing.TestClient(app)

    def close(self):
        self.details.close()
        self.records._pool.shutdown(wait=True)


async def answer_problem(req, resp, problem, params):
    resp.status = problem.status
    resp.media = problem.body()


async def answer_error(req, resp, error, params):
    resp.status = STATUS.get(type(error), HTTPStatus.SERVICE_UNAVAILABLE)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def start(sessions, redis_url, clock):
    started = []

    def start_gateway(url=redis_url):
        started.append(Gateway(sessions, url, clock))
        return started[-1]

    yield start_gateway
    for gateway in started:
        gateway.close()


@pytest.fixture
def gateway(start):
    return start()


@pytest.fixture
def http(gateway):
    return gateway.http


def save(sessions, *many):
    with sessions.begin() as session:
        courses.save_all(session, many)


def put(gateway, **members):
    response = gateway.http.simulate_put(f"/courses/{KEY}", json=members)
    assert response.status_code in {200, 201}
    return response


def name_in(gateway):
    return gateway.http.simulate_get(PATH).json["course_name"]


# --- reading ----------------------------------------------------------------------------------


def test_details_come_in_upstreams_form_with_upstreams_headers(sessions, http):
    save(sessions, ALGEBRA)

    response = http.simulate_get(PATH)

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
def test_expired_modes_are_shown_on_demand(sessions, http, query, slugs):
    save(sessions, ALGEBRA)

    for _ in range(2):
        response = http.simulate_get(PATH, query_string=query)
        assert [mode["slug"] for mode in response.json["course_modes"]] == slugs


@pytest.mark.parametrize("course_id", [KEY, "a+b+c", "nonsense", "a/b/c"])
def test_an_unknown_course_is_400_in_upstreams_words(http, course_id):
    for _ in range(2):
        response = http.simulate_get(f"/course/{course_id}")
        assert response.status_code == 400
        assert response.json["message"] == f"No course found for course ID '{course_id}'"


@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', '"x" , W/{}', "*"])
def test_who_has_the_answer_already_gets_304(sessions, http, form):
    save(sessions, ALGEBRA)
    etag = http.simulate_get(PATH).headers["etag"]

    response = http.simulate_get(PATH, headers={"If-None-Match": form.format(etag)})

    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == etag
    assert "cache-control" in response.headers


def test_who_has_another_answer_gets_this_one(sessions, http):
    save(sessions, ALGEBRA)

    assert http.simulate_get(PATH, headers={"If-None-Match": '"other"'}).status_code == 200
    assert not names('"a", "b"', '"c"')


def test_head_is_get_without_a_body_and_options_names_the_methods(sessions, http):
    save(sessions, ALGEBRA)

    head = http.simulate_head(PATH)

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == http.simulate_get(PATH).headers["etag"]
    allowed = http.simulate_options(PATH).headers["allow"]
    assert set(allowed.split(", ")) >= {"GET", "HEAD"}


def test_a_mode_leaves_the_cached_answer_when_its_time_is_over(sessions, start, clock):
    save(
        sessions,
        replace(ALGEBRA, modes=(Mode(slug="pro", expires_at=NOON + timedelta(seconds=5)),)),
    )
    one = start()
    assert one.http.simulate_get(PATH).json["course_modes"][0]["slug"] == "pro"
    one.details.close()

    left = one.cache._redis.pttl(one.cache._redis.keys()[0])

    assert 0 < left <= 5_000


# --- levels -----------------------------------------------------------------------------------


def test_within_a_lease_neither_redis_nor_records_are_asked(sessions, gateway):
    save(sessions, ALGEBRA)
    gateway.http.simulate_get(PATH)
    save(sessions, replace(ALGEBRA, name="New"))

    assert gateway.details.kept((KEY, False)).body == gateway.http.simulate_get(PATH).content
    assert name_in(gateway) == "Algebra"


def test_another_process_is_answered_from_redis(sessions, start):
    save(sessions, ALGEBRA)
    one, two = start(), start()
    content = one.http.simulate_get(PATH).content
    one.details._pool.shutdown(wait=True)
    statements = []
    two.records.read = lambda query, *args: reading(
        statements, Records.read(two.records, query, *args), query
    )

    assert two.http.simulate_get(PATH).content == content
    assert statements == [courses.edition]


async def reading(statements, answer, query):
    statements.append(query)
    return await answer


def test_garbage_in_redis_is_read_past(sessions, start, clock):
    save(sessions, ALGEBRA)
    one, two = start(), start()
    content = one.http.simulate_get(PATH).content
    one.details._pool.shutdown(wait=True)
    redis = two.cache._redis
    assert redis.dbsize() == 1
    for key in redis.scan_iter():
        redis.set(key, b'{"course_name": "Forged"}')

    assert two.http.simulate_get(PATH).content == content


def test_many_at_once_ask_once(sessions, gateway):
    save(sessions, ALGEBRA)
    asked = []
    read = gateway.records.read
    gateway.records.read = lambda query, *args: reading(asked, read(query, *args), query)

    async def all_at_once():
        return await asyncio.gather(*(gateway.details.get((KEY, False)) for _ in range(50)))

    entries = asyncio.run(all_at_once())

    assert len(set(entries)) == 1
    assert asked == [courses.edition, courses.find]


def test_who_goes_away_takes_nothing_from_those_who_wait(sessions, gateway):
    save(sessions, ALGEBRA)

    async def one_goes():
        waiting = [asyncio.create_task(gateway.details.get((KEY, False))) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        return await asyncio.gather(*waiting, return_exceptions=True)

    gone, *others = asyncio.run(one_goes())

    assert isinstance(gone, asyncio.CancelledError)
    assert [json.loads(entry.body)["course_name"] for entry in others] == ["Algebra"] * 2


def test_what_is_on_its_way_when_the_process_ends_is_dropped_in_silence(gateway, caplog):
    async def leave():
        asyncio.create_task(gateway.details.get((KEY, False)))  # noqa: RUF006 (nobody waits for it)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(leave())

    assert caplog.records == []


def test_a_lease_holds_no_more_than_its_bound(sessions, gateway, monkeypatch):
    save(sessions, ALGEBRA)
    monkeypatch.setattr("api_gateway.course_details.MOST_ENTRIES", 1)

    async def two_in_turn():
        for key in ((KEY, False), (KEY, True), (KEY, False)):
            assert await gateway.details.get(key) is not None

    asyncio.run(two_in_turn())

    assert gateway.details.kept((KEY, False)) is not UNKEPT
    assert gateway.details.kept((KEY, True)) is UNKEPT


def test_without_records_reading_says_so_and_recovers(sessions, gateway, monkeypatch):
    save(sessions, ALGEBRA)

    async def away(*_):
        raise RecordsUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(gateway.records, "read", away)
        with pytest.raises(RecordsUnavailable):
            asyncio.run(gateway.details.get((KEY, False)))

    assert name_in(gateway) == "Algebra"


def test_reading_goes_on_without_redis(sessions, start):
    save(sessions, ALGEBRA)
    gateway = start("redis://127.0.0.1:1/0")

    assert name_in(gateway) == "Algebra"
    gateway.clock.seconds += LEASE
    assert name_in(gateway) == "Algebra"


def test_a_slow_database_is_read_twice_at_most_and_answers(sessions, gateway):
    save(sessions, ALGEBRA)
    read, asked, has_asked = gateway.records.read, [], asyncio.Event()

    async def slowly(query, *args):
        asked.append(query)
        has_asked.set()
        answer = await read(query, *args)
        gateway.clock.seconds += 10 * LEASE
        return answer

    gateway.records.read = slowly

    async def one_comes_late():
        first = asyncio.create_task(gateway.details.get((KEY, False)))
        await has_asked.wait()
        gateway.clock.seconds += LEASE / 2
        return await asyncio.gather(first, gateway.details.get((KEY, False)))

    first, second = asyncio.run(one_comes_late())

    assert first == second
    assert asked.count(courses.edition) == 2


# --- changes ----------------------------------------------------------------------------------


def test_when_a_change_was_answered_no_process_serves_the_old_course(sessions, start):
    save(sessions, ALGEBRA)
    one, two = start(), start()
    assert (name_in(one), name_in(two)) == ("Algebra", "Algebra")

    for number in range(3):
        put(two, course_name=f"New {number}")
        assert (name_in(one), name_in(two)) == (f"New {number}", f"New {number}")


def test_nor_where_redis_is_flushed_or_brings_back_the_past(sessions, start):
    save(sessions, ALGEBRA)
    one, two = start(), start()
    name_in(one)
    one.details._pool.shutdown(wait=True)
    past = {key: two.cache._redis.get(key) for key in two.cache._redis.scan_iter()}
    assert past

    put(two, course_name="New")
    two.cache._redis.flushdb()
    assert name_in(two) == "New"
    for key, value in past.items():
        two.cache._redis.set(key, value)

    assert name_in(two) == "New"
    two.clock.seconds += LEASE
    assert name_in(two) == "New"


def test_nor_where_redis_is_frozen(sessions, start):
    save(sessions, ALGEBRA)
    with redis_process() as server:
        one, two = start(server.url), start(server.url)
        assert (name_in(one), name_in(two)) == ("Algebra", "Algebra")
        server.hold()
        put(two, course_name="New")
        assert (name_in(one), name_in(two)) == ("New", "New")
        server.release()
        one.clock.seconds += PAUSE
        assert (name_in(one), name_in(two)) == ("New", "New")


def test_a_slow_reader_writes_where_nobody_looks(sessions, start):
    save(sessions, ALGEBRA)
    slow, two = start(), start()
    read, loaded, go_on = slow.records.read, threading.Event(), threading.Event()

    async def slowly(query, *args):
        answer = await read(query, *args)
        if query is courses.find:
            loaded.set()
            await asyncio.to_thread(go_on.wait)
        return answer

    slow.records.read = slowly
    reader = threading.Thread(target=lambda: asyncio.run(slow.details.get((KEY, False))))
    reader.start()
    loaded.wait()
    put(two, course_name="New")
    go_on.set()
    reader.join()
    slow.details._pool.shutdown(wait=True)

    assert two.cache._redis.dbsize() == 1
    assert name_in(two) == "New"
    assert name_in(start()) == "New"


def test_a_deleted_course_is_gone_for_all(sessions, start):
    save(sessions, ALGEBRA)
    one, two = start(), start()
    name_in(one)

    assert two.http.simulate_delete(f"/courses/{KEY}").status_code == 204

    assert one.http.simulate_get(PATH).status_code == 400


def test_a_course_that_was_unknown_is_known_once_put(sessions, start):
    one, two = start(), start()
    assert one.http.simulate_get(PATH).status_code == 400

    put(two, course_name="New")

    assert name_in(one) == "New"


def test_nothing_is_kept_in_the_process_at_first(gateway):
    assert gateway.details.kept((KEY, False)) is UNKEPT


# --- courses over HTTP ------------------------------------------------------------------------


def test_a_put_creates_then_replaces_and_is_read_back(http):
    created = http.simulate_put(f"/courses/{KEY}", json={"course_name": "Algebra", "capacity": 3})
    assert created.status_code == 201
    assert http.simulate_get(f"/courses/{KEY}").json == created.json

    again = http.simulate_put(f"/courses/{KEY}", json=created.json | {"capacity": None})

    assert again.status_code == 200
    assert again.json == created.json | {"capacity": None}


def test_a_patch_changes_what_it_names(sessions, http):
    save(sessions, ALGEBRA)

    response = http.simulate_patch(f"/courses/{KEY}", json={"capacity": 5})

    assert response.status_code == 200
    assert response.json == http.simulate_get(f"/courses/{KEY}").json
    assert (response.json["capacity"], response.json["course_name"]) == (5, "Algebra")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_course_is_404(http, method):
    body = {"json": {}} if method == "PATCH" else {}

    assert http.simulate_request(method, f"/courses/{KEY}", **body).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_an_address_that_names_no_course_key_is_400(http, method):
    body = {"json": {}} if method in {"PUT", "PATCH"} else {}
    response = http.simulate_request(method, "/courses/algebra", **body)

    assert (response.status_code, response.json["code"]) == (400, "invalid_course_id")


def test_a_bad_course_is_refused_with_field_and_rule(http):
    response = http.simulate_put(f"/courses/{KEY}", json={"capacity": -1, "colour": "red"})

    assert response.status_code == 400
    assert {(bad["pointer"], bad["rule"]) for bad in response.json["errors"]} == {
        ("/capacity", "range"),
        ("/colour", "unknown"),
    }


def test_a_course_in_use_is_not_deleted(sessions, http):
    save(sessions, ALGEBRA)
    with sessions.begin() as session:
        row_id = courses.standing(session, [KEY])[KEY].id
        session.add(
            EnrollmentRow(
                learner_id=1, course_id=row_id, mode="audit", is_active=True, created=NOON,
                version=1, event_id=1, active_at=1, active_rank=1, active_line=1,
            )
        )  # fmt: skip

    assert http.simulate_delete(f"/courses/{KEY}").status_code == 409


def test_courses_are_listed_page_by_page(sessions, http):
    many = [Course(course_id=f"course-v1:Uni+C{number}+1") for number in range(5)]
    save(sessions, *many)
    seen, params = [], {"limit": 2}

    while True:
        page = http.simulate_get("/courses", params=params).json
        seen += [course["course_id"] for course in page["courses"]]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]

    assert seen == [course.course_id for course in many]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "limit=-1", "limit=99999999", "cursor=%20", "cursor=a", "cursor=_w", "cursor=AA", "cursor=%C3%A4"],
)  # fmt: skip
def test_a_page_that_cannot_be_is_400(http, query):
    response = http.simulate_get("/courses", query_string=query)

    assert (response.status_code, response.json["code"]) == (400, "invalid_parameter")


ONE, TWO = {"course_id": "course-v1:Uni+C1+1"}, {"course_id": "course-v1:Uni+C2+1", "capacity": 1}


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/json", json.dumps([ONE, TWO])),
        ("application/JSON; charset=utf-8", json.dumps({"courses": [ONE, TWO]})),
        ("application/x-ndjson", f"{json.dumps(ONE)}\n\r\n{json.dumps(TWO)}"),
    ],
)
def test_many_are_saved_at_once(sessions, http, media_type, body):
    response = http.simulate_post("/courses", body=body, headers={"Content-Type": media_type})

    assert (response.status_code, response.json) == (200, {"saved": 2})
    listed = http.simulate_get("/courses").json["courses"]
    assert [(course["course_id"], course["capacity"]) for course in listed] == [
        (ONE["course_id"], None),
        (TWO["course_id"], 1),
    ]


@pytest.mark.parametrize(
    ("media_type", "body", "where"),
    [
        ("application/x-ndjson", f'{json.dumps(ONE)}\n\n{{"course_id": 5}}\n{{', [(3, "course_id", "type"), (4, "", "json")]),
        ("application/x-ndjson", f"{json.dumps(ONE)}\n{json.dumps(ONE)}", [(2, "course_id", "duplicate")]),
        ("application/json", json.dumps([ONE, {}]), [("/1/course_id", "course_id", "required")]),
        ("application/json", json.dumps({"courses": [ONE, 5]}), [("/courses/1", "", "type")]),
        ("application/json", json.dumps([ONE, ONE]), [("/1/course_id", "course_id", "duplicate")]),
        ("application/json", "[", [(1, "", "json")]),
        ("application/json", json.dumps(ONE), [("/courses", "courses", "type")]),
        ("application/json", json.dumps({"courses": 5}), [("/courses", "courses", "type")]),
        ("application/json", "5", [("/courses", "courses", "type")]),
    ],
)  # fmt: skip
def test_one_bad_course_among_many_stops_them_all_and_is_named(http, media_type, body, where):
    response = http.simulate_post("/courses", body=body, headers={"Content-Type": media_type})

    assert response.status_code == 400
    assert [
        (bad.get("line") or bad.get("pointer"), bad["field"], bad["rule"])
        for bad in response.json["errors"]
    ] == where
    assert http.simulate_get("/courses").json == {"courses": [], "next": None}


@pytest.mark.parametrize("body", ["{}\n" * 150, "{\n" * 150])
def test_the_first_hundred_bad_ones_are_named(http, body):
    response = http.simulate_post(
        "/courses", body=body, headers={"Content-Type": "application/x-ndjson"}
    )

    assert [bad["line"] for bad in response.json["errors"]] == list(range(1, 101))


def test_more_than_are_taken_at_once_is_413(http):
    lines = "\n".join(f'{{"course_id":"course-v1:a+b+{number}"}}' for number in range(10_001))

    response = http.simulate_post(
        "/courses", body=lines, headers={"Content-Type": "application/x-ndjson"}
    )

    assert response.status_code == 413
    assert "10000" in response.json["detail"]


def test_another_media_type_is_415(http):
    response = http.simulate_post("/courses", body="a,b", headers={"Content-Type": "text/csv"})

    assert response.status_code == 415
