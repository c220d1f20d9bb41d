"""Clients share reads and snapshots of a status, if these are new enough and theirs to see."""

import asyncio
from datetime import timedelta

import pytest

from api_gateway.auth.caller import Caller
from api_gateway.database import Database
from api_gateway.status import queries
from api_gateway.status.status_reader import (
    MAX_AGE_AFTER_PROGRESS,
    MAX_AGE_AFTER_SILENCE,
    StatusReader,
    after_progress,
    after_silence,
)
from api_gateway.status.status_response import RenderCache
from enrollment.domain.codes import CallerKind
from enrollment.domain.errors import DatabaseUnavailable, SubmissionNotFound
from tests.support.gateway import utc_now
from tests.support.in_process_service import row
from tests.support.small_gateway import Clock

ADMIN = Caller("key:admin", CallerKind.ADMIN, frozenset({"admin"}))
OTHER_ADMIN = Caller("key:other", CallerKind.ADMIN, frozenset({"admin"}))
STRANGER = Caller("key:stranger", CallerKind.SERVER, frozenset({"enroll"}))


class HeldDatabase(Database):
    """Counts reads; the result of each is held back while ``may_go`` is not set."""

    def __init__(self, sessions):
        super().__init__(sessions, threads=2)
        self.reads = 0
        self.was_read = asyncio.Event()
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.is_away = False

    async def read(self, query, *args, **kwargs):
        self.reads += 1
        if self.is_away:
            raise DatabaseUnavailable("away")
        found = await super().read(query, *args, **kwargs)
        self.was_read.set()
        await self.may_go.wait()
        return found


class Clients:
    """Clients that ask for a file of four batches."""

    def __init__(self, world):
        world.one_at_a_time()
        world.batch_rows = 1
        world.course()
        self.file = world.send([row(name) for name in ("ada", "bob", "cem", "dora")])
        self.world = world
        self.database = HeldDatabase(world.sessions)
        self.clock = Clock()
        self.reader = StatusReader(self.database, clock=self.clock, max_snapshots=2)

    def work(self, batch):
        self.world.deliver(self.world.batch_ids(self.file)[batch])

    def now(self):
        """The submission as it is in the database."""
        with self.world.sessions.read() as session:
            return queries.get_status(session, self.file, ADMIN).submission

    def ask(self, caller=ADMIN):
        """A client that wants a new read."""
        return asyncio.create_task(self.reader.read(self.file, caller))

    def notified(self, *known, caller=ADMIN, freshness=after_progress):
        """What clients with these states are given when they ask at once."""

        async def ask():
            reads = [self.reader.read(self.file, caller, freshness(it)) for it in known]
            return await asyncio.gather(*reads)

        return answered(asyncio.run(ask()))

    def idle(self, *known):
        """The same for clients that were notified of nothing."""
        return self.notified(*known, freshness=after_silence)


@pytest.fixture
def clients(world):
    made = Clients(world)
    yield made
    made.database._pool.shutdown(wait=True)


def answered(statuses):
    return [status.submission.tally.completed for status in statuses]


# --- shared reads -------------------------------------------------------------------------


def test_a_hundred_clients_at_once_cost_one_read(clients):
    async def ask():
        return await asyncio.gather(*[clients.ask() for _ in range(100)])

    assert answered(asyncio.run(ask())) == [0] * 100
    assert clients.database.reads == 1


def test_nobody_is_given_a_read_that_began_before_they_asked(clients):
    async def ask():
        clients.database.may_go.clear()
        early = clients.ask()
        await clients.database.was_read.wait()
        clients.work(0)
        late = [clients.ask() for _ in range(100)]
        clients.database.may_go.set()
        return await asyncio.gather(early, *late)

    assert answered(asyncio.run(ask())) == [0] + [1] * 100
    assert clients.database.reads == 2


def test_another_caller_has_a_read_of_their_own(clients):
    async def ask():
        both = (clients.ask(), clients.ask(STRANGER))
        return await asyncio.gather(*both, return_exceptions=True)

    seen, unseen = asyncio.run(ask())
    assert seen.submission.id == clients.file
    assert isinstance(unseen, SubmissionNotFound)


def test_a_failed_read_fails_for_all_who_share_it_and_is_not_kept(clients):
    async def ask():
        clients.database.is_away = True
        failed = await asyncio.gather(*[clients.ask() for _ in range(3)], return_exceptions=True)
        clients.database.is_away = False
        return failed, await clients.ask()

    failed, status = asyncio.run(ask())
    assert [type(error) for error in failed] == [DatabaseUnavailable] * 3
    assert clients.database.reads == 2
    assert status.submission.id == clients.file


def test_a_client_that_disconnects_cancels_nobody_else(clients):
    async def ask():
        clients.database.may_go.clear()
        gone, stays = clients.ask(), clients.ask()
        await clients.database.was_read.wait()
        gone.cancel()
        clients.database.may_go.set()
        return await asyncio.gather(gone, stays, return_exceptions=True)

    gone, stays = asyncio.run(ask())
    assert isinstance(gone, asyncio.CancelledError)
    assert stays.submission.id == clients.file


def test_a_status_is_rendered_once_a_read_and_never_reused_for_a_second(clients):
    async def ask():
        return await clients.ask()

    status, again = asyncio.run(ask()), asyncio.run(ask())
    now, cache = utc_now(), RenderCache()
    first = cache.get(status, now)
    assert cache.get(status, now + timedelta(milliseconds=999)) is first
    assert cache.get(status, now + timedelta(seconds=1)) is not first
    assert cache.get(again, now + timedelta(seconds=1)) is not first


# --- snapshots ----------------------------------------------------------------------------


def test_a_thousand_who_are_notified_cost_one_read(clients):
    start = clients.now()
    clients.work(0)
    assert clients.notified(*[start] * 1_000) == [1] * 1_000
    assert clients.database.reads == 1


def test_a_late_client_is_given_what_the_others_were(clients):
    start = clients.now()
    clients.work(0)
    clients.notified(start)
    clients.work(1)
    clients.clock.seconds = MAX_AGE_AFTER_PROGRESS / 2
    assert clients.notified(start) == [1]
    assert clients.database.reads == 1
    clients.clock.seconds = MAX_AGE_AFTER_PROGRESS
    assert clients.notified(start) == [2]
    assert clients.database.reads == 2


def test_a_client_that_has_the_snapshot_is_given_more(clients):
    start = clients.now()
    clients.work(0)
    clients.notified(start)
    first = clients.now()
    clients.work(1)
    assert clients.notified(first) == [2]


@pytest.mark.parametrize("freshness", [after_progress, after_silence])
def test_nobody_is_given_an_older_state(clients, freshness):
    start = clients.now()
    clients.notified(start)
    clients.work(0)
    later = clients.now()
    assert clients.notified(later, freshness=freshness) == [1]


def test_without_a_notification_a_snapshot_is_used_longer(clients):
    start = clients.now()
    clients.idle(start)
    clients.clock.seconds = MAX_AGE_AFTER_SILENCE - 1
    assert clients.idle(*[start] * 10) == [0] * 10
    assert clients.database.reads == 1
    clients.work(0)  # the notification is lost
    clients.clock.seconds = MAX_AGE_AFTER_SILENCE
    assert clients.idle(start) == [1]


def test_who_wants_a_new_read_is_never_given_a_snapshot(clients):
    async def ask():
        return await clients.ask()

    start = clients.now()
    clients.idle(start)
    clients.work(0)
    assert answered([asyncio.run(ask())]) == [1]
    assert clients.database.reads == 2


def test_what_one_caller_may_see_is_not_shown_to_another(clients):
    start = clients.now()
    clients.work(0)
    clients.notified(start)
    with pytest.raises(SubmissionNotFound):
        clients.notified(start, caller=STRANGER)
    assert clients.notified(start, caller=OTHER_ADMIN) == [1]
    assert clients.database.reads == 3


def test_what_could_not_be_read_is_not_kept(clients):
    start = clients.now()
    clients.work(0)
    clients.database.is_away = True
    with pytest.raises(DatabaseUnavailable):
        clients.notified(start)
    clients.database.is_away = False
    assert clients.notified(start) == [1]


def test_no_more_is_kept_than_the_bound(clients):
    start = clients.now()
    clients.work(0)
    callers = [ADMIN._replace(name=f"key:{number}") for number in range(5)]
    for caller in callers:
        clients.notified(start, caller=caller)
    assert [key[1] for key in clients.reader._snapshots] == ["key:3", "key:4"]
