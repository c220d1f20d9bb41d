"""Sliding windows in Redis, in the embedded server and in this process."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from api_gateway.local_stack.embedded_redis import EmbeddedRedis
from api_gateway.throttle.local_windows import LocalWindows
from api_gateway.throttle.redis_windows import (
    MAX_HITS_PER_TRIP,
    REDIS_TIMEOUT_SECONDS,
    RedisWindows,
)
from api_gateway.throttle.throttle import Throttle, throttled
from enrollment.runtime.circuit_breaker import RETRY_INTERVAL
from enrollment.runtime.setting_values import Rate
from tests.support.gateway import NO_REDIS
from tests.support.manual_clock import ManualClock
from tests.support.roles import restricted_redis

RATE = Rate(40, 60)
FEW = Rate(3, 60)
#: Seconds in which a Redis that works answers on a busy machine.
PATIENCE = 20.0


@pytest.fixture(scope="module")
def embedded_url():
    with EmbeddedRedis() as server:
        yield server.url


@pytest.fixture(params=["embedded", "real"])
def url(request):
    """The Redis of `enroll up`, and a real one, without keys and scripts."""
    name = "embedded_url" if request.param == "embedded" else "redis_url"
    url = request.getfixturevalue(name)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        client.script_flush()
    return url


@pytest.fixture
def clock():
    made = ManualClock()
    made.now = 1_800_000_000.0
    return made


@asynccontextmanager
async def processes(url, clock, number=1, patience=PATIENCE):
    """The throttles of some processes, on one clock."""
    made = [
        Throttle(RedisWindows(url, clock=clock, timeout=patience), clock) for _ in range(number)
    ]
    try:
        yield made if number > 1 else made[0]
    finally:
        for each in made:
            await each.close()


async def admitted(throttle, times, rate=RATE, caller="ada"):
    """How many of some requests in a row are admitted."""
    usages = [await throttle.hit("learner", caller, rate) for _ in range(times)]
    return sum(usage.is_admitted for usage in usages)


def evaluations(url):
    """The number of scripts that Redis has run."""
    with redis.Redis.from_url(url) as client:
        return client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)


def test_the_41st_request_in_a_minute_is_the_first_that_is_refused(url, clock):
    async def run():
        async with processes(url, clock) as throttle:
            usages = [await throttle.hit("learner", "ada", RATE) for _ in range(40)]
            assert [usage.remaining for usage in usages] == [*range(39, -1, -1)]
            assert all(usage.is_admitted for usage in usages)
            clock.now += 12.5
            refused = await throttle.hit("learner", "ada", RATE)
            assert not refused.is_admitted
            assert refused.remaining == 0
            assert refused.reset_seconds == pytest.approx(47.5, abs=0.01)
            assert await admitted(throttle, 1, caller="bob") == 1
            clock.now += refused.reset_seconds + 0.01
            assert await admitted(throttle, 41) == 40

    asyncio.run(run())


def test_no_wait_is_longer_than_the_window(url, clock):
    async def run():
        async with processes(url, clock) as throttle:
            for digit in range(10):  # Redis may round a time up
                clock.now = 1_800_000_000 + digit * 0.000_011
                usage = await throttle.hit("learner", f"ada{digit}", RATE)
                assert usage.reset_seconds <= RATE.seconds

    asyncio.run(run())


def test_the_window_slides(url, clock):
    async def run():
        async with processes(url, clock) as throttle:
            for _ in range(3):
                assert await admitted(throttle, 1, FEW) == 1
                clock.now += 20.01
            assert await admitted(throttle, 2, FEW) == 1  # the first one has left the window
            clock.now += 20.01
            assert await admitted(throttle, 2, FEW) == 1

    asyncio.run(run())


def test_requests_that_are_refused_do_not_count(url, clock):
    async def run():
        async with processes(url, clock) as throttle:
            assert await admitted(throttle, 3, FEW) == 3
            for _ in range(6):
                clock.now += 10
                assert await admitted(throttle, 1, FEW) == 0
            clock.now += 0.01
            assert await admitted(throttle, 3, FEW) == 3

    asyncio.run(run())


def test_processes_share_the_windows(url, clock):
    async def run():
        async with processes(url, clock, 2) as (one, other):
            assert await admitted(one, 25) + await admitted(other, 25) == 40

    asyncio.run(run())


def test_requests_at_once_share_round_trips_and_keep_the_rate(url, clock):
    async def run():
        async with processes(url, clock) as throttle:
            windows, trips = throttle._shared, Counter()
            original = windows._pipeline

            async def counting(hits):
                trips[len(hits)] += 1
                return await original(hits)

            windows._pipeline = counting
            await throttle.hit("learner", "first", RATE)  # loads the scripts
            trips.clear()
            hits = [throttle.hit("learner", "ada", RATE) for _ in range(100)]
            usages = await asyncio.gather(*hits)
            assert sum(usage.is_admitted for usage in usages) == 40
            assert sum(trips.values()) <= 3, trips
            assert max(trips) == MAX_HITS_PER_TRIP

    asyncio.run(run())


def test_a_caller_who_is_refused_costs_no_round_trip(redis_url, clock):
    async def run():
        async with processes(redis_url, clock) as throttle:
            assert await admitted(throttle, 4, FEW) == 3
            before = evaluations(redis_url)
            assert await admitted(throttle, 50, FEW) == 0
            assert evaluations(redis_url) == before

    asyncio.run(run())


def test_redis_may_forget_scripts_and_windows(url, clock):
    async def run():
        async with processes(url, clock) as throttle:
            assert await admitted(throttle, 2, FEW) == 2
            with redis.Redis.from_url(url) as client:
                client.script_flush()
            assert await admitted(throttle, 2, FEW) == 1
            with redis.Redis.from_url(url) as client:
                client.flushall()
            assert await admitted(throttle, 4, FEW, caller="bob") == 3

    asyncio.run(run())


def test_redis_holds_no_names_and_forgets_by_itself(url, clock):
    async def run():
        async with processes(url, clock) as throttle:
            await throttle.hit("learner", "user:ada", RATE)

    asyncio.run(run())
    with redis.Redis.from_url(url) as client:
        (key,) = client.keys("*")
        assert key.startswith(b"enroll:throttle:learner:")
        assert b"ada" not in key
        assert 0 < client.ttl(key) <= 60


def test_the_services_user_of_redis_may_run_the_scripts(clock):
    async def run(url):
        async with processes(url, clock) as throttle:
            assert await admitted(throttle, 4, FEW) == 3

    with restricted_redis() as server, capture_logs() as logs:
        asyncio.run(run(server.service_url))
        assert {command for command in server.refused() if "client" not in command} == set()
    assert logs == []


@pytest.mark.parametrize("away", [NO_REDIS, "redis://10.255.255.1:6379/0"])
def test_without_redis_the_process_limits_by_itself(clock, away):
    async def run():
        async with processes(away, clock, patience=REDIS_TIMEOUT_SECONDS) as throttle:
            assert await admitted(throttle, 45) == 40
            clock.now += 61
            assert await admitted(throttle, 45) == 40

    with capture_logs() as logs:
        asyncio.run(run())
    assert [entry["event"] for entry in logs] == ["throttle.unreachable"]


def test_a_redis_that_hangs_delays_one_request_and_comes_back(redis_url, clock):
    async def run():
        async with processes(redis_url, clock, patience=0.5) as throttle:
            assert await admitted(throttle, 2, FEW) == 2
            with redis.Redis.from_url(redis_url) as client:
                client.client_pause(2_000)
                assert await admitted(throttle, 4, FEW) == 3  # counted here from nothing
                client.ping()  # answers when the pause is over
            clock.now += RETRY_INTERVAL + 61
            assert await admitted(throttle, 4, FEW) == 3

    with capture_logs() as logs:
        asyncio.run(run())
    events = [entry["event"] for entry in logs]
    assert events == ["throttle.unreachable", "throttle.reachable_again"]


def test_a_request_that_is_cancelled_takes_no_other_with_it(url, clock):
    async def run():
        async with processes(url, clock) as throttle:
            first, second = (
                asyncio.create_task(throttle.hit("learner", "ada", FEW)) for _ in range(2)
            )
            await asyncio.sleep(0)
            first.cancel()
            assert (await second).is_admitted

    asyncio.run(run())


STEPS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0, 0.25, 7, 31.5, 61])))


def model(steps, rate):
    """Which requests are admitted, by counting those of the last seconds each time."""
    now, times, results = 0.0, {}, []
    for caller, passed in steps:
        now += passed
        kept = [at for at in times.get(caller, []) if now - at <= rate.seconds]
        results.append(len(kept) < rate.amount)
        times[caller] = [*kept, now] if results[-1] else kept
    return results


@given(steps=STEPS)
def test_the_windows_of_a_process_admit_what_counting_admits(steps):
    windows, now, found = LocalWindows(), 1000.0, []
    for caller, passed in steps:
        now += passed
        found.append(windows.hit(caller, FEW, now).is_admitted)

    assert found == model(steps, FEW)


@settings(max_examples=25)
@given(steps=STEPS)
def test_redis_admits_the_same(redis_base_url, steps):
    clock = ManualClock()
    with redis.Redis.from_url(redis_base_url) as client:
        client.flushdb()

    async def run():
        windows, found = RedisWindows(redis_base_url, clock=clock, timeout=PATIENCE), []
        for caller, passed in steps:
            clock.now += passed
            found.append((await windows.hit(caller, FEW, clock.now)).is_admitted)
        await windows.close()
        return found

    assert asyncio.run(run()) == model(steps, FEW)


def test_a_process_remembers_a_bounded_number_of_callers():
    windows = LocalWindows(max_keys=10)
    for number in range(100):
        windows.hit(str(number), FEW, 1000.0)

    assert len(windows._times) == 10
    assert windows.hit("99", FEW, 1000.0).remaining == 1


def test_a_clock_that_is_set_back_locks_nobody_out():
    windows = LocalWindows()
    for _ in range(3):
        windows.hit("ada", FEW, 5000.0)

    assert windows.hit("ada", FEW, 1000.0).is_admitted


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 second"), (1.2, "2 seconds"), (59.9, "60 seconds")]
)
def test_the_words_are_those_of_open_edx(seconds, text):
    problem = throttled(Rate(1, 60), seconds)

    assert problem.advice == "The limit is 1 request in 60 seconds."
    assert problem.detail == f"Request was throttled. Expected available in {text}."
    assert problem.headers["Retry-After"] == text.split()[0]
