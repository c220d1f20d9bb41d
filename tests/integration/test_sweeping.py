"""What was accepted is found again and answered in the end; what cannot be is set aside."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from enrollment.domain.codes import Code, Lane, State
from enrollment.domain.errors import Conflict, RecordsUnavailable
from enrollment.queue import ANNOUNCED_AGAIN_AFTER, SWEEP_AT_MOST
from enrollment.storage import batches, changes, submissions
from enrollment.storage.sessions import clock
from enrollment.storage.tables import BatchRow, EventRow, IdempotencyRow, SubmissionRow
from tests.support.halts import together
from tests.support.world import request, row
from worker import processing
from worker.processing import MAX_ATTEMPTS, TRIES
from worker.sweeping import Sweeper

ENROLLED = Code.ENROLLED


class Bench:
    """A sweeper, and time that passes when told."""

    def __init__(self, world, **settings):
        self.world = world
        self.rung = []
        self.queue_is_away = False
        self.sweeper = Sweeper(sessions=world.sessions, announce=self.announce, **settings)

    def announce(self, waiting):
        if not self.queue_is_away:
            self.rung.append(waiting)
        return not self.queue_is_away

    def pass_time(self, **spent):
        ago = datetime.now(UTC) - timedelta(**spent)
        with self.world.sessions.begin() as session:
            for column in (BatchRow.announced_at, BatchRow.answered_at):
                session.execute(
                    update(BatchRow).where(column.is_not(None)).values({column.key: ago})
                )
            for column in (SubmissionRow.received_at, SubmissionRow.finished_at):
                session.execute(
                    update(SubmissionRow).where(column.is_not(None)).values({column.key: ago})
                )
            session.execute(update(IdempotencyRow).values(created=ago))

    def sweep(self):
        self.rung.clear()
        assert self.sweeper.sweep() == len(self.rung)
        return [waiting.id for waiting in self.rung]


@pytest.fixture
def bench(world):
    world.course()
    return Bench(world)


FORGOTTEN = {"seconds": 2 * ANNOUNCED_AGAIN_AFTER}


# --- sweeping -----------------------------------------------------------------------------


def test_what_was_just_announced_is_left_alone(bench):
    bench.world.ask(request("ada"))

    assert bench.sweep() == []


def test_what_was_forgotten_is_announced_again_in_its_lane(bench):
    (single,) = bench.world.ask(request("ada"))
    file = bench.world.send([row("bob")])
    bench.pass_time(**FORGOTTEN)

    bench.sweep()

    assert [(waiting.id, waiting.lane) for waiting in bench.rung] == [
        (bench.world.batch_ids(single)[0], Lane.INTERACTIVE),
        (bench.world.batch_ids(file)[0], Lane.BULK),
    ]


def test_what_was_announced_again_is_given_its_time(bench):
    bench.world.ask(request("ada"))
    bench.pass_time(**FORGOTTEN)

    assert len(bench.sweep()) == 1
    assert bench.sweep() == []


def test_what_is_answered_is_never_announced_again(bench):
    bench.world.ask(request("ada"))
    bench.world.send([row("bob")])
    bench.world.work()
    bench.pass_time(**FORGOTTEN)

    assert bench.sweep() == []


def test_of_a_file_only_the_batch_whose_turn_it_is_is_announced_again(bench):
    bench.world.batch_rows = 1
    file = bench.world.send([row("ada"), row("bob"), row("eve")])
    first, second, _ = bench.world.batch_ids(file)
    bench.pass_time(**FORGOTTEN)

    assert bench.sweep() == [first]
    bench.world.deliver(first)
    bench.pass_time(**FORGOTTEN)
    assert bench.sweep() == [second]


def test_when_every_message_is_lost_everything_is_answered_all_the_same(bench):
    bench.world.batch_rows = 2
    file = bench.world.send([row(f"learner{n}") for n in range(7)])
    (single,) = bench.world.ask(request("ada"))

    while bench.world.waiting():
        bench.pass_time(**FORGOTTEN)
        bench.world.deliver(*bench.sweep())

    assert bench.world.codes(file) == [ENROLLED] * 7
    assert bench.world.codes(single) == [ENROLLED]
    bench.world.check()


def test_one_sweep_announces_only_so_many_and_the_next_the_others(bench):
    for n in range(SWEEP_AT_MOST + 1):
        bench.world.ask(request(f"learner{n}"))
    bench.pass_time(**FORGOTTEN)

    first, second = bench.sweep(), bench.sweep()

    assert (len(first), len(second)) == (SWEEP_AT_MOST, 1)
    assert sorted(first + second) == bench.world.waiting()


def test_while_the_queue_is_away_nothing_is_lost(bench):
    bench.world.ask(request("ada"))
    bench.world.ask(request("bob"))
    bench.pass_time(**FORGOTTEN)
    bench.queue_is_away = True
    assert bench.sweep() == []

    bench.queue_is_away = False
    bench.pass_time(**FORGOTTEN)

    assert bench.sweep() == bench.world.waiting()


def test_two_sweepers_at_once_announce_everything_once(bench):
    for n in range(10):
        bench.world.ask(request(f"learner{n}"))
    bench.pass_time(**FORGOTTEN)
    others = [Bench(bench.world) for _ in range(2)]

    announced = together(*(other.sweep for other in others))

    assert sorted(announced[0] + announced[1]) == bench.world.waiting()


# --- poison -------------------------------------------------------------------------------


def spoil(world, submission_id):
    """Make a batch one that nobody can work."""
    (number,) = world.batch_ids(submission_id)[:1]
    with world.sessions.begin() as session:
        session.execute(update(BatchRow).where(BatchRow.id == number).values(payload=b"?"))
    return number


def attempts(world):
    return {batch.id: batch.attempts for batch in world.batches()}


def fails(world, number):
    with pytest.raises(ValueError, match="packed values"):
        world.processor.process(number)


def test_a_batch_that_fails_is_counted_and_changes_nothing_else(bench):
    world = bench.world
    number = spoil(world, world.send([row("ada")]))
    before = world.events(), world.enrollments()

    fails(world, number)

    assert attempts(world) == {number: 1}
    assert (world.events(), world.enrollments()) == before


def test_after_so_many_failures_a_batch_is_parked_and_shown(bench):
    world = bench.world
    number = spoil(world, world.send([row("ada")]))

    for attempt in range(MAX_ATTEMPTS):
        assert [batch.parked for batch in world.batches()] == [False], attempt
        fails(world, number)
    world.deliver(number)
    bench.pass_time(**FORGOTTEN)

    assert [batch.parked for batch in world.batches()] == [True]
    assert attempts(world) == {number: MAX_ATTEMPTS}
    assert bench.sweep() == []
    with world.sessions.read() as session:
        assert batches.backlog(session) == (0, None, 1)


def test_the_others_of_its_lane_are_answered(bench):
    world = bench.world
    (ada,), (poison,), (eve,) = (world.ask(request(user)) for user in ("ada", "bad", "eve"))
    spoil(world, poison)
    fails(world, world.batch_ids(eve)[0])
    (late,) = world.ask(request("zoe"))

    world.deliver(*world.batch_ids(late), *world.batch_ids(ada), *world.batch_ids(eve))

    assert world.codes(ada) == world.codes(eve) == world.codes(late) == [ENROLLED]
    assert world.codes(poison) == []
    while world.waiting():
        fails(world, world.batch_ids(poison)[0])
    assert attempts(world)[world.batch_ids(poison)[0]] == MAX_ATTEMPTS


def test_the_next_batches_of_a_file_wait_for_the_one_that_fails(bench):
    world = bench.world
    world.batch_rows = 1
    file = world.send([row("ada"), row("bob")])
    first, second = world.batch_ids(file)
    spoil(world, file)
    fails(world, first)
    other = world.send([row("eve")])

    world.deliver(second, *world.batch_ids(other))

    assert world.submission(file).state is State.QUEUED
    assert world.codes(other) == [ENROLLED]


def test_a_database_that_is_away_is_no_failure_of_the_batch(bench, monkeypatch):
    world = bench.world
    (single,) = world.ask(request("ada"))
    monkeypatch.setattr(batches, "claim_together", gone)

    with pytest.raises(RecordsUnavailable):
        world.deliver(*world.batch_ids(single))

    assert list(attempts(world).values()) == [0]


def gone(*_):
    raise RecordsUnavailable("gone")


def test_a_batch_is_judged_again_when_somebody_was_first(bench, monkeypatch):
    world = bench.world
    (single,) = world.ask(request("ada"))
    failures = iter([Conflict("first"), Conflict("second")])
    monkeypatch.setattr(changes, "take_positions", loser(failures, changes.take_positions))

    world.work()

    assert world.codes(single) == [ENROLLED]
    assert list(attempts(world).values()) == [0]
    world.check()


def loser(failures, work):
    def take_positions(*args):
        failure = next(failures, None)
        if failure is not None:
            raise failure
        return work(*args)

    return take_positions


def test_it_is_judged_again_only_so_often(bench, monkeypatch):
    world = bench.world
    (single,) = world.ask(request("ada"))
    failures = [Conflict("again") for _ in range(TRIES + 5)]
    left = iter(failures)
    monkeypatch.setattr(changes, "take_positions", loser(left, changes.take_positions))

    with pytest.raises(Conflict):
        world.deliver(*world.batch_ids(single))

    assert len(list(left)) == 5
    assert world.enrollments() == {}


def test_a_failure_between_claim_and_answer_takes_everything_back(bench, monkeypatch):
    world = bench.world
    world.ask(request("ada"))
    before = world.dump()
    with monkeypatch.context() as faults:
        faults.setattr(processing, "tally_outcomes", gone)
        with pytest.raises(RecordsUnavailable):
            world.deliver(*world.waiting())
    assert world.dump() == before

    world.work()

    assert set(world.enrollments().values()) == {("audit", True, (), None)}
    world.check()


def test_a_cancelled_file_is_answered_though_its_batch_failed_before(bench):
    world = bench.world
    file = world.send([row("ada")])
    number = spoil(world, file)
    fails(world, number)
    with world.sessions.begin() as session:
        submissions.ask_cancel(session, file, None, now=clock(session))

    world.deliver(number)

    assert world.submission(file).state is State.CANCELLED
    world.check()


# --- tidying ------------------------------------------------------------------------------


def kept(world):
    with world.sessions.read() as session:
        return [
            session.scalar(select(func.count()).select_from(table))
            for table in (SubmissionRow, BatchRow, IdempotencyRow, EventRow)
        ]


def test_what_is_over_is_kept_for_a_while_and_its_events_for_ever(world):
    world.course()
    bench = Bench(world, retention=timedelta(days=30))
    world.ask(request("ada"))
    world.publish([row("bob")], key="k")
    world.work()

    bench.pass_time(days=29)
    bench.sweeper.tidy()
    assert kept(world) == [2, 2, 0, 2]
    bench.pass_time(days=31)
    bench.sweeper.tidy()
    assert kept(world) == [0, 0, 0, 2]


def test_what_is_not_answered_is_never_deleted(world):
    bench = Bench(world)
    world.ask(request("ada"))
    world.batch_rows = 1
    world.send([row("bob"), row("eve")])
    world.deliver(*world.waiting()[:1])
    bench.pass_time(days=400)

    bench.sweeper.tidy()

    assert kept(world)[:2] == [1, 2]


def test_keys_are_kept_for_a_week(world):
    bench = Bench(world)
    world.publish([row("bob")], key="k")

    bench.pass_time(days=6)
    bench.sweeper.tidy()
    assert kept(world)[2] == 1
    bench.pass_time(days=8)
    bench.sweeper.tidy()
    assert kept(world)[2] == 0


def test_a_key_never_outlives_the_submission_that_it_stands_for(world):
    bench = Bench(world, retention=timedelta(days=1))
    world.course()
    world.publish([row("bob")], key="k")
    world.work()
    bench.pass_time(days=2)

    bench.sweeper.tidy()

    assert kept(world)[:3] == [0, 0, 0]
