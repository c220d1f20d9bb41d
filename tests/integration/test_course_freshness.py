"""When a change of a course was answered, no process serves the old one."""

import asyncio
import threading
from datetime import timedelta

import pytest

from api_gateway.course_details_cache import LEASE, NOT_CACHED
from enrollment.breaker import PAUSE
from enrollment.domain.model import Course, Mode
from enrollment.storage import courses
from tests.support.servers import redis_process
from tests.support.small_gateway import NOON, Clock, SmallGateway

KEY = "course-v1:Uni+ALG+2026"
ALGEBRA = Course(
    course_id=KEY,
    name="Algebra",
    modes=(Mode(slug="audit"), Mode(slug="verified", expires_at=NOON - timedelta(days=1))),
)
PATH = f"/course/{KEY}"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def start(sessions, redis_url, clock):
    started = []

    def start_gateway(url=redis_url):
        started.append(SmallGateway(sessions, url, clock))
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
    assert gateway.details.peek((KEY, False)) is NOT_CACHED
