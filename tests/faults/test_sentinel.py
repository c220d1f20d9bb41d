"""Redis behind Sentinel: when its primary dies, every process goes on with the next one."""

import asyncio
import time
from collections.abc import Iterator

import pytest
import redis
from redis.asyncio import BlockingConnectionPool

from api_gateway.cli.doctor_checks import check_broker, check_redis
from enrollment.runtime.cache import connect
from enrollment.runtime.redis_servers.pools import async_pool
from tests.support.sentinels import SERVICE, Watched, watched_redis
from tests.support.servers import LOOPBACK
from tests.support.service import Service, ask, hand_in, open_for_all, quickly
from tests.support.service_processes import ended, is_ready, needs_proc, wait_until

pytestmark = [needs_proc, pytest.mark.slow, pytest.mark.timeout(240)]

#: Seconds for Sentinels to agree, and for all processes to find the new primary.
FAILED_OVER = 45.0
STREAM = "enroll:requests"
EVENTS = "enroll:events"


@pytest.fixture
def watched() -> Iterator[Watched]:
    with watched_redis() as started:
        yield started


def events_in(redis_server):
    """Returns how many events the stream of a Redis has."""
    with redis.Redis.from_url(redis_server.url) as direct:
        return direct.xlen(EVENTS)


def fails_over(watched):
    """Asks for another primary; Sentinel refuses while it has not heard of the replica lately."""
    with redis.Redis(port=watched.sentinels[0].port) as sentinel:
        try:
            sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE)
        except redis.ResponseError:
            return False
    return True


def test_the_service_goes_on_with_the_next_primary(watched, tmp_path):
    course = "course-v1:Uni+Sentinel+2026"
    with Service(
        tmp_path,
        ENROLL_REDIS_URL=watched.url.removeprefix("redis+"),
        ENROLL_EVENT_STREAM=EVENTS,
        ENROLL_REQUEST_STREAM=STREAM,
    ) as service:
        service.start_all()
        with service.http() as http:
            open_for_all(http, course)
            before = ask(http, "ada", course, Prefer="wait=30")
            assert before.status_code == 200, before.text
            wait_until(lambda: events_in(watched.primary) == 1, service.log)

            watched.primary.kill()
            began = time.monotonic()
            taken = [*quickly(http, course, 0), *hand_in(http, course, "n", singles=5, rows=1_500)]
            for each in taken:
                ended(http, each, service.log)
            assert time.monotonic() - began < FAILED_OVER
            assert service.enrolled(course) == 1 + 1 + 30 + 5 + 1_500

            # everything that is in Redis is in the next primary
            wait_until(lambda: events_in(watched.replica) == service.enrolled(course))
            wait_until(lambda: is_ready(service.url), service.log)
            after = ask(http, "bob", course, Prefer="wait=30")
            assert after.status_code == 200, after.text
        assert [one.process.poll() for one in (service.gateway, service.worker, service.beat)] == [
            None
        ] * 3


def test_a_primary_that_was_demoted_is_left(watched):
    """The old primary answers on, as a replica that refuses writes."""
    client = connect(watched.url)
    assert client.set("a", 1)
    wait_until(lambda: fails_over(watched))

    def writes_to_the_next() -> bool:
        try:
            client.set("a", 2)
        except redis.RedisError:
            return False
        with redis.Redis.from_url(watched.replica.url) as direct:
            return direct.get("a") == b"2" and direct.role()[0] == b"master"

    wait_until(writes_to_the_next)
    client.connection_pool.disconnect()


def test_the_doctor_and_asyncio_find_the_primary_past_a_dead_sentinel(watched):
    watched.sentinels[0].kill()
    assert [each.mark for each in check_redis(watched.url, is_named=True)] == ["ok", "ok"]
    assert check_broker(watched.url).mark == "ok"

    async def address() -> tuple[str, int]:
        pool = async_pool(BlockingConnectionPool, watched.url, max_connections=1)
        connection = await pool.get_connection()
        try:
            return connection.host, connection.port
        finally:
            await pool.release(connection)
            await pool.disconnect()

    assert asyncio.run(address()) == (LOOPBACK, watched.primary.port)
