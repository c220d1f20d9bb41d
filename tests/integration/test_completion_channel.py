"""Who listens for answers finds out that nobody speaks any more, and listens anew."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from structlog.testing import capture_logs

from api_gateway.database import Database
from api_gateway.local_stack.embedded_redis import EmbeddedRedis
from api_gateway.status import waiters
from api_gateway.status.waiters import Waiters
from enrollment.runtime.completion_channel import CompletionPublisher
from tests.fault_lab.stack.proxy import Proxy
from tests.fault_lab.stack.proxy_modes import BlackHole, HalfOpen, Pass, Reset
from tests.support.breakpoints import PATIENCE
from tests.support.servers import LOOPBACK


@pytest.fixture
def proxy(redis_url):
    port = int(redis_url.rsplit(":", 1)[1].partition("/")[0])
    with Proxy(LOOPBACK, port) as proxy:
        yield proxy


@pytest.mark.parametrize(
    "mode", [HalfOpen(), BlackHole(), Reset()], ids=lambda mode: type(mode).__name__
)
def test_a_line_that_is_dead_is_noticed_and_made_anew(
    sessions, redis_url, proxy, mode, monkeypatch
):
    monkeypatch.setattr(waiters, "PING_AFTER_SECONDS", 0.3)
    heard = []

    async def run():
        url = redis_url.replace(redis_url.split("/")[2], f"{LOOPBACK}:{proxy.port}")
        waiters = Waiters(records, url, on_completed=heard.extend)
        waiters.start()
        try:
            async with asyncio.timeout(PATIENCE):
                await until(lambda: waiters._connected)
                proxy.set(mode)
                await until(lambda: not waiters._connected)
                proxy.set(Pass())
                await until(lambda: waiters._connected)
                await until(lambda: CompletionPublisher(redis_url).publish([7], []) and heard)
        finally:
            await waiters.stop()

    records = Database(sessions, threads=1)
    with capture_logs() as said:
        asyncio.run(run())
    records.close()

    assert set(heard) == {7}
    told = [record["event"] for record in said if record["event"].startswith("waking")]
    assert told == ["waking.unreachable", "waking.reachable_again"]


async def until(true):
    while not true():  # noqa: ASYNC110 (nobody else needs to know)
        await asyncio.sleep(0.01)


@pytest.fixture(params=["real", "embedded"])
def any_redis_url(request):
    if request.param == "real":
        yield request.getfixturevalue("redis_url")
    else:
        with EmbeddedRedis() as redis:
            yield redis.url


def test_a_quiet_line_is_left_alone(sessions, any_redis_url, monkeypatch):
    monkeypatch.setattr(waiters, "PING_AFTER_SECONDS", 0.1)

    async def run():
        waiters = Waiters(records, any_redis_url)
        waiters.start()
        await until(lambda: waiters._connected)
        for _ in range(50):
            await asyncio.sleep(0.01)
            assert waiters._connected
        await waiters.stop()

    records = Database(sessions, threads=1)
    asyncio.run(run())
    records.close()


def test_probes_at_the_same_time_wait_for_a_connection(redis_url):
    publisher = CompletionPublisher(redis_url)
    together = Barrier(12)

    def ping(_):
        together.wait(PATIENCE)
        return publisher.ping()

    with capture_logs() as logged, ThreadPoolExecutor(12) as threads:
        assert all(threads.map(ping, range(12)))
    assert logged == []
