"""Those who ask for a submission at the same time share one look, which began after they asked."""

import asyncio
from datetime import timedelta

import pytest

from api_gateway.callers import Caller
from api_gateway.looking import Looks
from api_gateway.records import Records
from api_gateway.resources.statuses import LastShown
from enrollment.domain.codes import CallerKind
from enrollment.domain.errors import RecordsUnavailable, SubmissionNotFound
from tests.support.gateway import utc_now
from tests.support.world import row

ADMIN = Caller("key:admin", CallerKind.ADMIN, frozenset({"admin"}))
STRANGER = Caller("key:stranger", CallerKind.SERVER, frozenset({"enroll"}))


class HeldRecords(Records):
    """Counts what is read; what was read is held back until it is let go."""

    def __init__(self, sessions):
        super().__init__(sessions, threads=2)
        self.reads = 0
        self.was_read = asyncio.Event()
        self.may_go = asyncio.Event()
        self.is_away = False

    async def read(self, query, *args, **kwargs):
        self.reads += 1
        if self.is_away:
            raise RecordsUnavailable("away")
        found = await super().read(query, *args, **kwargs)
        self.was_read.set()
        await self.may_go.wait()
        return found


class Pollers:
    """Those who ask for a file of two batches."""

    def __init__(self, world):
        world.one_at_a_time()
        world.batch_rows = 1
        world.course()
        self.file = world.send([row(name) for name in ("ada", "bob")])
        self.world = world
        self.records = HeldRecords(world.sessions)
        self.looks = Looks(self.records)

    def asks(self, caller=ADMIN):
        return asyncio.create_task(self.looks.status(self.file, caller))


@pytest.fixture
def pollers(world):
    made = Pollers(world)
    yield made
    made.records._pool.shutdown(wait=True)


def answered(statuses):
    return [status.submission.tally.answered for status in statuses]


def test_a_hundred_who_ask_at_once_cost_one_look(pollers):
    async def ask():
        pollers.records.may_go.set()
        return await asyncio.gather(*[pollers.asks() for _ in range(100)])

    assert answered(asyncio.run(ask())) == [0] * 100
    assert pollers.records.reads == 1


def test_nobody_is_given_a_look_that_began_before_they_asked(pollers):
    async def ask():
        early = pollers.asks()
        await pollers.records.was_read.wait()
        pollers.world.deliver(pollers.world.batch_ids(pollers.file)[0])
        late = [pollers.asks() for _ in range(100)]
        pollers.records.may_go.set()
        return await asyncio.gather(early, *late)

    assert answered(asyncio.run(ask())) == [0] + [1] * 100
    assert pollers.records.reads == 2


def test_another_caller_has_a_look_of_their_own(pollers):
    async def ask():
        pollers.records.may_go.set()
        both = (pollers.asks(), pollers.asks(STRANGER))
        return await asyncio.gather(*both, return_exceptions=True)

    seen, unseen = asyncio.run(ask())
    assert seen.submission.id == pollers.file
    assert isinstance(unseen, SubmissionNotFound)


def test_a_look_that_fails_fails_for_all_who_share_it_and_is_not_kept(pollers):
    async def ask():
        pollers.records.may_go.set()
        pollers.records.is_away = True
        failed = await asyncio.gather(*[pollers.asks() for _ in range(3)], return_exceptions=True)
        pollers.records.is_away = False
        return failed, await pollers.asks()

    failed, status = asyncio.run(ask())
    assert [type(error) for error in failed] == [RecordsUnavailable] * 3
    assert pollers.records.reads == 2
    assert status.submission.id == pollers.file


def test_who_goes_away_takes_nobody_along(pollers):
    async def ask():
        gone, stays = pollers.asks(), pollers.asks()
        await pollers.records.was_read.wait()
        gone.cancel()
        pollers.records.may_go.set()
        return await asyncio.gather(gone, stays, return_exceptions=True)

    gone, stays = asyncio.run(ask())
    assert isinstance(gone, asyncio.CancelledError)
    assert stays.submission.id == pollers.file


def test_what_was_shown_is_made_once_a_look_and_never_a_second_old(pollers):
    async def ask():
        pollers.records.may_go.set()
        return await pollers.asks()

    status, again = asyncio.run(ask()), asyncio.run(ask())
    now, last = utc_now(), LastShown()
    first = last.of(status, now)
    assert last.of(status, now + timedelta(milliseconds=999)) is first
    assert last.of(status, now + timedelta(seconds=1)) is not first
    assert last.of(again, now + timedelta(seconds=1)) is not first
