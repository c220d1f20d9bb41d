"""What one follower was told is told to others, if it is news to them and theirs to see."""

import asyncio

import pytest

from api_gateway import answers
from api_gateway.callers import Caller
from api_gateway.moves import FRESH_SECONDS, STALE_SECONDS, Moves
from api_gateway.records import Records
from enrollment.domain.codes import CallerKind
from enrollment.domain.errors import RecordsUnavailable, SubmissionNotFound
from tests.support.small_gateway import Clock
from tests.support.world import row

ADMIN = Caller("key:admin", CallerKind.ADMIN, frozenset({"admin"}))
OTHER_ADMIN = Caller("key:other", CallerKind.ADMIN, frozenset({"admin"}))
STRANGER = Caller("key:stranger", CallerKind.SERVER, frozenset({"enroll"}))


class CountedRecords(Records):
    """Counts what is read."""

    def __init__(self, sessions):
        super().__init__(sessions, threads=2)
        self.reads = 0
        self.is_away = False

    async def read(self, query, *args, **kwargs):
        self.reads += 1
        if self.is_away:
            raise RecordsUnavailable("away")
        return await super().read(query, *args, **kwargs)


class Followers:
    """Those who follow a file of four batches."""

    def __init__(self, world):
        world.one_at_a_time()
        world.batch_rows = 1
        world.course()
        self.file = world.send([row(name) for name in ("ada", "bob", "cem", "dora")])
        self.world = world
        self.records = CountedRecords(world.sessions)
        self.clock = Clock()
        self.moves = Moves(self.records, clock=self.clock, bound=2)

    def now(self):
        """What the records say, which nobody is told."""
        with self.world.sessions.read() as session:
            return answers.status(session, self.file, ADMIN)

    def work(self, batch):
        self.world.deliver(self.world.batch_ids(self.file)[batch])

    def told(self, *known, caller=ADMIN, has_moved=True):
        """What each is told who knows so much and asks at once with the others."""

        async def ask():
            asked = [self.moves.after(it, caller, has_moved=has_moved) for it in known]
            return await asyncio.gather(*asked)

        return [status.submission.tally.answered for status in asyncio.run(ask())]


@pytest.fixture
def followers(world):
    made = Followers(world)
    yield made
    made.records._pool.shutdown(wait=True)


def test_a_thousand_who_hear_of_a_move_cost_one_look(followers):
    start = followers.now()
    followers.work(0)
    assert followers.told(*[start] * 1_000) == [1] * 1_000
    assert followers.records.reads == 1


def test_who_comes_late_is_told_what_the_others_were(followers):
    start = followers.now()
    followers.work(0)
    followers.told(start)
    followers.work(1)
    followers.clock.seconds = FRESH_SECONDS / 2
    assert followers.told(start) == [1]
    assert followers.records.reads == 1
    followers.clock.seconds = FRESH_SECONDS
    assert followers.told(start) == [2]
    assert followers.records.reads == 2


def test_who_knows_as_much_as_was_told_is_told_more(followers):
    start = followers.now()
    followers.work(0)
    followers.told(start)
    first = followers.now()
    followers.work(1)
    assert followers.told(first) == [2]


@pytest.mark.parametrize("has_moved", [True, False])
def test_nobody_is_taken_back(followers, has_moved):
    start = followers.now()
    followers.told(start)
    followers.work(0)
    later = followers.now()
    assert followers.told(later, has_moved=has_moved) == [1]


def test_where_nothing_is_said_to_have_moved_a_look_holds_longer(followers):
    start = followers.now()
    followers.told(start)
    followers.clock.seconds = STALE_SECONDS - 1
    assert followers.told(*[start] * 10, has_moved=False) == [0] * 10
    assert followers.records.reads == 1
    followers.work(0)  # nobody heard of it
    followers.clock.seconds = STALE_SECONDS
    assert followers.told(start, has_moved=False) == [1]


def test_what_one_caller_may_see_is_not_shown_to_another(followers):
    start = followers.now()
    followers.work(0)
    followers.told(start)
    with pytest.raises(SubmissionNotFound):
        followers.told(start, caller=STRANGER)
    assert followers.told(start, caller=OTHER_ADMIN) == [1]
    assert followers.records.reads == 3


def test_what_could_not_be_read_is_not_kept(followers):
    start = followers.now()
    followers.work(0)
    followers.records.is_away = True
    with pytest.raises(RecordsUnavailable):
        followers.told(start)
    followers.records.is_away = False
    assert followers.told(start) == [1]


def test_no_more_is_kept_than_the_bound(followers):
    start = followers.now()
    followers.work(0)
    callers = [ADMIN._replace(name=f"key:{number}") for number in range(5)]
    for caller in callers:
        followers.told(start, caller=caller)
    assert [key[1] for key in followers.moves._kept] == ["key:3", "key:4"]
