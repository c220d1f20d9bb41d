"""Whether the queue is there is known within a second, whatever it does, and asked seldom."""

import asyncio
import threading
from contextlib import ExitStack
from datetime import UTC, datetime

import falcon.asgi
import pytest
from falcon import testing
from prometheus_client.parser import text_string_to_metric_families

from api_gateway import broker_probe
from api_gateway.broker_probe import RESULT_TTL_SECONDS, BrokerProbe, broker_ping
from api_gateway.database import Database
from api_gateway.resources.health import ReadyResource
from api_gateway.resources.metrics import MetricsResource
from tests.fault_lab.stack.proxy import Proxy
from tests.fault_lab.stack.proxy_modes import BlackHole, Pass, Reset
from tests.support.binaries import ServerMissing
from tests.support.breakpoints import PATIENCE
from tests.support.rabbitmq import rabbitmq_process
from tests.support.servers import LOOPBACK
from tests.support.service_processes import needs_proc
from tests.support.small_gateway import Clock

NOBODY = "amqp://127.0.0.1:1//"
NO_REDIS = "redis://127.0.0.1:1/0"


class Queue:
    """Answers, refuses, or says nothing until it is let go."""

    def __init__(self):
        self.asked = 0
        self.is_away = False
        self.speaks = threading.Event()
        self.speaks.set()

    def __call__(self):
        self.asked += 1
        assert self.speaks.wait(PATIENCE)
        if self.is_away:
            raise OSError("away")


def heard(probe, times=1):
    """What many hear who ask at once."""

    async def ask():
        return set(await asyncio.gather(*(probe.is_reachable() for _ in range(times))))

    return ask()


# --- how often it is asked ----------------------------------------------------------------


@pytest.mark.parametrize("is_away", [False, True])
def test_what_it_said_is_told_to_everybody_for_a_while(is_away):
    queue, clock = Queue(), Clock()
    queue.is_away = is_away

    async def run():
        probe = BrokerProbe(queue, monotonic=clock)
        first = await heard(probe, times=20)
        queue.is_away = not is_away
        clock.seconds = RESULT_TTL_SECONDS - 0.1
        kept = await heard(probe, times=20)
        clock.seconds = RESULT_TTL_SECONDS
        return first, kept, await heard(probe)

    assert asyncio.run(run()) == ({not is_away}, {not is_away}, {is_away})
    assert queue.asked == 2


def test_silence_is_no_and_keeps_one_thread_and_nobody_waiting(monkeypatch):
    monkeypatch.setattr(broker_probe, "PROBE_TIMEOUT_SECONDS", 0.01)
    queue, clock = Queue(), Clock()
    queue.speaks.clear()

    async def run():
        probe = BrokerProbe(queue, monotonic=clock)
        first = await heard(probe, times=20)
        clock.seconds = 10 * RESULT_TTL_SECONDS
        later = await heard(probe, times=20)
        asked = queue.asked
        queue.speaks.set()
        await probe._probe
        clock.seconds = 20 * RESULT_TTL_SECONDS
        monkeypatch.setattr(broker_probe, "PROBE_TIMEOUT_SECONDS", PATIENCE)
        return first, later, asked, await heard(probe)

    assert asyncio.run(run()) == ({False}, {False}, 1, {True})


def test_who_goes_away_takes_nobody_s_answer_along():
    queue = Queue()
    queue.speaks.clear()

    async def run():
        probe = BrokerProbe(queue, monotonic=Clock())
        impatient = asyncio.ensure_future(probe.is_reachable())
        patient = asyncio.ensure_future(probe.is_reachable())
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait([impatient])
        queue.speaks.set()
        return await patient

    assert asyncio.run(run()) is True
    assert queue.asked == 1


# --- whom it asks -------------------------------------------------------------------------


@pytest.mark.parametrize("url", [NOBODY, NO_REDIS])
def test_where_nobody_listens_it_is_away(url):
    assert asyncio.run(heard(BrokerProbe(broker_ping(url)))) == {False}


def test_a_redis_that_is_the_queue_alone_is_asked_too(redis_url):
    assert asyncio.run(heard(BrokerProbe(broker_ping(redis_url)))) == {True}


@needs_proc
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_rabbitmq_is_reachable_only_while_it_answers(monkeypatch):
    monkeypatch.setattr(broker_probe, "RESULT_TTL_SECONDS", 0.0)
    with ExitStack() as stack:
        try:
            server = stack.enter_context(rabbitmq_process())
        except ServerMissing as missing:  # no package index has one: also left out in CI
            pytest.skip(str(missing))
        proxy = stack.enter_context(Proxy(LOOPBACK, server.port))
        url = server.url.replace(f":{server.port}/", f":{proxy.port}/")

        async def run():
            probe = BrokerProbe(broker_ping(url))

            async def is_reachable():
                said = await probe.is_reachable()
                await probe._probe  # the next look is a new one
                return said

            found = [await is_reachable()]
            for trouble in (BlackHole(), Reset()):
                proxy.set(trouble)
                found.append(await is_reachable())
            proxy.set(Pass())
            found.append(await is_reachable())
            server.hold()
            found.append(await is_reachable())
            server.release()
            found.append(await is_reachable())
            return found

        assert asyncio.run(run()) == [True, False, False, True, False, True]


# --- who is told --------------------------------------------------------------------------


@pytest.fixture
def database(sessions):
    made = Database(sessions, threads=1)
    yield made
    made._pool.shutdown(wait=True)


def ready(database, *, redis, queue):
    """What a gateway says whose queue is a server of its own (None: it is the Redis)."""
    resource = ReadyResource(
        database=database,
        ping_redis=lambda: redis,
        now=lambda: datetime.now(UTC),
        broker=queue and BrokerProbe(queue),
    )
    app = falcon.asgi.App()
    app.add_route("/readyz", resource)
    answer = testing.TestClient(app).simulate_get("/readyz")
    assert answer.status_code == 200
    return answer.json


@pytest.mark.parametrize("redis", [True, False])
@pytest.mark.parametrize("is_away", [False, True])
def test_a_queue_of_its_own_is_named_beside_redis(database, redis, is_away):
    queue = Queue()
    queue.is_away = is_away
    said = ready(database, redis=redis, queue=queue)
    assert (said["redis"], said["queue"]) == (
        "ok" if redis else "away",
        "away" if is_away else "ok",
    )
    findings = [it for it in said["findings"] if "not reachable" in it]
    assert len(findings) == is_away + (not redis)
    assert (
        any(it.startswith("the queue is not reachable: requests are stored") for it in findings)
        == is_away
    )
    assert any(it.startswith("Redis is not reachable: reads use") for it in findings) != redis
    assert (said["status"] == "ok") <= (not findings)


@pytest.mark.parametrize("redis", [True, False])
def test_where_the_queue_is_the_redis_it_is_as_that_is(database, redis):
    said = ready(database, redis=redis, queue=None)
    assert said["queue"] == said["redis"] == ("ok" if redis else "away")
    away = [it for it in said["findings"] if "not reachable" in it]
    assert away == (
        []
        if redis
        else ["Redis is not reachable: requests are stored and processed when it is back"]
    )


@pytest.mark.parametrize(
    ("redis", "queue", "expected"),
    [
        (True, None, (1.0, 1.0)),
        (False, None, (0.0, 0.0)),
        (True, True, (1.0, 1.0)),
        (True, False, (1.0, 0.0)),
        (False, True, (0.0, 1.0)),
    ],
)
def test_the_metrics_say_what_this_gateway_reaches(database, redis, queue, expected):
    broker = None
    if queue is not None:
        server = Queue()
        server.is_away = not queue
        broker = BrokerProbe(server)
    app = falcon.asgi.App()
    resource = MetricsResource(database=database, ping_redis=lambda: redis, broker=broker)
    app.add_route("/metrics", resource)
    text = testing.TestClient(app).simulate_get("/metrics").text
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    assert (values["enroll_redis_up"], values["enroll_queue_up"]) == expected
    assert 0 <= values["enroll_purge_age_seconds"] < 86_400
