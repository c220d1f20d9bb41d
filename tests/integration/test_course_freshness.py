"""When a change of a course was answered, no process serves the old one."""

import asyncio
import threading

from api_gateway.course_details_cache import LEASE_SECONDS, NOT_CACHED
from enrollment.runtime.circuit_breaker import RETRY_INTERVAL
from enrollment.storage import courses
from tests.support.courses import save
from tests.support.servers import redis_process
from tests.support.small_gateway import ALGEBRA, KEY, PATH


def test_when_a_change_was_answered_no_process_serves_the_old_course(
    sessions, start_course_gateway
):
    save(sessions, ALGEBRA)
    one, two = start_course_gateway(), start_course_gateway()
    assert (one.course_name(), two.course_name()) == ("Algebra", "Algebra")

    for number in range(3):
        two.put(course_name=f"New {number}")
        assert (one.course_name(), two.course_name()) == (f"New {number}", f"New {number}")


def test_nor_where_redis_is_flushed_or_brings_back_the_past(sessions, start_course_gateway):
    save(sessions, ALGEBRA)
    one, two = start_course_gateway(), start_course_gateway()
    one.course_name()
    one.details._pool.shutdown(wait=True)
    past = {key: two.cache._redis.get(key) for key in two.cache._redis.scan_iter()}
    assert past

    two.put(course_name="New")
    two.cache._redis.flushdb()
    assert two.course_name() == "New"
    for key, value in past.items():
        two.cache._redis.set(key, value)

    assert two.course_name() == "New"
    two.clock.seconds += LEASE_SECONDS
    assert two.course_name() == "New"


def test_nor_where_redis_is_frozen(sessions, start_course_gateway):
    save(sessions, ALGEBRA)
    with redis_process() as server:
        one, two = start_course_gateway(server.url), start_course_gateway(server.url)
        assert (one.course_name(), two.course_name()) == ("Algebra", "Algebra")
        server.hold()
        two.put(course_name="New")
        assert (one.course_name(), two.course_name()) == ("New", "New")
        server.release()
        one.clock.seconds += RETRY_INTERVAL
        assert (one.course_name(), two.course_name()) == ("New", "New")


def test_a_slow_reader_writes_where_nobody_looks(sessions, start_course_gateway):
    save(sessions, ALGEBRA)
    slow, two = start_course_gateway(), start_course_gateway()
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
    two.put(course_name="New")
    go_on.set()
    reader.join()
    slow.details._pool.shutdown(wait=True)

    assert two.cache._redis.dbsize() == 1
    assert two.course_name() == "New"
    assert start_course_gateway().course_name() == "New"


def test_a_deleted_course_is_gone_for_all(sessions, start_course_gateway):
    save(sessions, ALGEBRA)
    one, two = start_course_gateway(), start_course_gateway()
    one.course_name()

    assert two.http.simulate_delete(f"/courses/{KEY}").status_code == 204

    assert one.http.simulate_get(PATH).status_code == 400


def test_a_course_that_was_unknown_is_known_once_put(sessions, start_course_gateway):
    one, two = start_course_gateway(), start_course_gateway()
    assert one.http.simulate_get(PATH).status_code == 400

    two.put(course_name="New")

    assert one.course_name() == "New"


def test_nothing_is_kept_in_the_process_at_first(course_gateway):
    assert course_gateway.details.peek((KEY, False)) is NOT_CACHED
