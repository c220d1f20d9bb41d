"""One query for all who wait, and results that are no older than they may be."""

import asyncio

import pytest

from api_gateway.auth.cached_lookup import CachedLookup
from tests.support.manual_clock import ManualClock


class Query:
    """Counts what is looked up; fails while it is told to."""

    def __init__(self, clock):
        self.clock = clock
        self.asked = []
        self.fails = False

    async def __call__(self, key):
        self.asked.append(key)
        await asyncio.sleep(0)
        self.clock.now += 0.5
        if self.fails:
            raise LookupError(key)
        return key.upper()


@pytest.fixture
def query():
    return Query(ManualClock())


@pytest.fixture
def lookup(query):
    return CachedLookup(query, seconds=2.0, clock=query.clock, max_entries=2)


def test_all_who_wait_share_one_query(lookup, query):
    async def run():
        return await asyncio.gather(*(lookup.get("a") for _ in range(20)))

    found = asyncio.run(run())
    assert {each.value for each in found} == {"A"}
    assert query.asked == ["a"]


def test_a_result_is_as_old_as_its_query(lookup, query):
    async def run():
        began = query.clock.now
        assert (await lookup.get("a")).expires_at == began + 2.0
        query.clock.now = began + 1.99
        await lookup.get("a")
        assert query.asked == ["a"]
        query.clock.now = began + 2.0
        await lookup.get("a")
        assert query.asked == ["a", "a"]

    asyncio.run(run())


def test_a_failure_is_not_kept(lookup, query):
    async def run():
        query.fails = True
        for _ in range(2):
            with pytest.raises(LookupError):
                await lookup.get("a")
        query.fails = False
        assert (await lookup.get("a")).value == "A"

    asyncio.run(run())


def test_one_who_gives_up_takes_nobody_with_them(lookup):
    async def run():
        first, second = (asyncio.create_task(lookup.get("a")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).value == "A"
        assert lookup._running == {}

    asyncio.run(run())


def test_the_number_of_results_is_bounded(lookup, query):
    async def run():
        for key in ("a", "b", "a", "c", "a", "b"):
            await lookup.get(key)

    asyncio.run(run())
    assert query.asked == ["a", "b", "c", "b"]
    assert len(lookup._found) == 2
