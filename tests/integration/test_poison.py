"""What fails again and again is set aside, and everything else goes on."""

import pytest
from sqlalchemy import update

from enrollment.domain.codes import Code, State
from enrollment.domain.errors import Conflict, RecordsUnavailable
from enrollment.storage import batches, changes, submissions
from enrollment.storage.sessions import clock
from enrollment.storage.tables import BatchRow
from tests.support.patience import FORGOTTEN, Bench
from tests.support.world import request, row
from worker import processing
from worker.processing import MAX_ATTEMPTS, TRIES

ENROLLED = Code.ENROLLED


@pytest.fixture
def bench(world):
    world.course()
    return Bench(world)


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
