"""What fails again and again is taken apart or set aside, and everything else goes on."""

import pytest
from sqlalchemy import select, update

from enrollment.domain.codes import Code, Reason, State
from enrollment.domain.errors import Conflict, DatabaseUnavailable, StatementTimeout
from enrollment.domain.poison_search import (
    FAILURES_BEFORE_SEARCH,
    FAILURES_TO_PARK,
    MAX_POISONOUS,
    FailureSearch,
)
from enrollment.runtime import failpoints
from enrollment.storage import cancellation, events
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.queue import claims, quarantine
from enrollment.storage.queue.backlog import load_backlog
from enrollment.storage.tables import BatchRow
from schemas.files import row_payload
from tests.support.in_process_service import ADA, COURSE, request, row
from tests.support.maintenance_env import FORGOTTEN, MaintenanceEnv
from worker.processing import attempts as processing_attempts
from worker.processing import decoded_claim, strategies
from worker.processing.processor import MAX_CONFLICT_ATTEMPTS
from worker.processing.transaction import ProcessedBatches

ENROLLED = Code.ENROLLED
POISON = (Code.INVALID, Reason.INTERNAL_ERROR)


@pytest.fixture
def bench(world):
    world.course()
    return MaintenanceEnv(world)


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


class Died(BaseException):
    """The worker is gone, and had no chance to say anything."""


def spoil(world, submission_id):
    """Make a batch one that nobody can read."""
    (number,) = world.batch_ids(submission_id)[:1]
    with world.sessions.begin() as session:
        session.execute(update(BatchRow).where(BatchRow.id == number).values(payload=b"?"))
    return number


def attempts(world):
    return {batch.id: batch.attempts for batch in world.batches()}


def answers(world, submission_id):
    return [(outcome.code, outcome.reason) for outcome in world.outcomes(submission_id)]


def parked(world):
    with world.sessions.read() as session:
        return quarantine.list_parked(session, limit=10)


def deliver_and_die(world, *batch_ids):
    for batch_id in batch_ids:
        with pytest.raises(Died):
            world.processor.process(batch_id)


# --- a request that cannot be judged ------------------------------------------------------


def test_a_batch_that_fails_is_counted_changes_nothing_and_is_next_by_itself(bench, armed):
    world = bench.world
    armed("work.judging=raise@poison")
    (number,) = world.batch_ids(world.send([row("ada"), row("poison")]))
    before = world.events(), world.enrollments()

    (done,) = world.deliver(number)

    assert [(waiting.id, waiting.alone) for waiting in done.next] == [(number, True)]
    assert attempts(world) == {number: 1}
    assert (world.events(), world.enrollments()) == before


@pytest.mark.parametrize("place", [0, 1, 6, 9])
def test_a_poisonous_request_stands_alone_in_the_end_and_the_rest_is_answered(bench, armed, place):
    world = bench.world
    armed("work.judging=raise@poison")
    rows = [row(f"learner{n}") for n in range(10)]
    rows[place] = row("poison")
    file = world.send(rows)

    world.work()

    expected = [(ENROLLED, None)] * 10
    expected[place] = POISON
    assert answers(world, file) == expected
    assert world.outcomes(file)[place].line == place + 2
    assert len(world.events()) == 9
    world.check()


def test_a_poisonous_single_costs_nobody_who_came_with_it(bench, armed):
    world = bench.world
    armed("work.judging=raise@poison")
    ada, poison, eve = world.ask(request("ada"), request("poison"), request("eve"))
    (zoe,) = world.ask(request("zoe"))

    world.work()

    assert world.codes(ada) == world.codes(eve) == world.codes(zoe) == [ENROLLED]
    assert answers(world, poison) == [POISON]
    assert world.outcomes(poison)[0].user == "poison"
    world.check()


def test_others_of_its_lane_are_answered_before_it_is(bench, armed):
    world = bench.world
    armed("work.judging=raise@poison")
    (ada,), (poison,), (eve,) = (world.ask(request(user)) for user in ("ada", "poison", "eve"))

    (done,) = world.deliver(world.batch_ids(eve)[0])
    assert [waiting.alone for waiting in done.next] == [True, True, True]
    (late,) = world.ask(request("zoe"))
    world.deliver(*(world.batch_ids(one)[0] for one in (late, ada, eve)))

    assert world.codes(ada) == world.codes(eve) == world.codes(late) == [ENROLLED]
    assert world.codes(poison) == []


def test_the_next_batches_of_a_file_wait_for_the_one_that_fails(bench, armed):
    world = bench.world
    world.batch_rows = 1
    armed("work.judging=raise@poison")
    file = world.send([row("poison"), row("bob")])
    first, second = world.batch_ids(file)
    world.deliver(first, second)
    assert world.submission(file).state is State.QUEUED

    world.work()

    assert answers(world, file) == [POISON, (ENROLLED, None)]
    world.check()


def test_of_a_file_that_is_all_or_nothing_nothing_is_done(bench, armed):
    world = bench.world
    armed("work.judging=raise@poison")
    file = world.send([row("ada"), row("poison"), row("ada")], on_error="abort")

    world.work()

    aborted = (Code.REFUSED, Reason.ABORTED)
    assert answers(world, file) == [aborted, POISON, aborted]
    assert world.enrollments() == {}
    world.check()


def test_a_row_that_no_worker_can_even_read_is_found_and_given_back_as_sent(bench, monkeypatch):
    world = bench.world
    read = row_payload.fast_reader

    def fragile(*how):
        quick = read(*how)

        def fail(cells):
            if "poison" in cells:
                raise ArithmeticError(cells)
            return quick(cells)

        return fail

    monkeypatch.setattr(row_payload, "fast_reader", fragile)
    file = world.send([row("ada"), row("poison"), row("eve")])

    world.work()

    assert answers(world, file) == [(ENROLLED, None), POISON, (ENROLLED, None)]
    world.check()


def test_beyond_three_the_batch_is_parked_shown_and_can_be_tried_again(bench, armed):
    world = bench.world
    armed("work.judging=raise@poison")
    names = [f"poison{n}" for n in range(MAX_POISONOUS + 1)]
    file = world.send([row("ada"), *map(row, names)])
    (number,) = world.batch_ids(file)

    world.work()

    (shown,) = parked(world)
    assert (shown.id, shown.submission_id, shown.requests) == (number, file, 5)
    assert shown.poisonous == (2, 3, 4, 5)
    assert shown.attempts == attempts(world)[number] > 0
    assert world.submission(file).state is State.QUEUED
    bench.pass_time(**FORGOTTEN)
    assert bench.sweep() == []
    with world.sessions.read() as session:
        assert load_backlog(session) == (0, None, 1, False)

    armed("")
    with world.sessions.begin() as session:
        assert quarantine.retry(session, [number + 1]) == []
        assert quarantine.retry(session, [number]) == [number]
    assert bench.sweep() == [number]
    world.work()
    assert world.codes(file) == [ENROLLED] * 5
    world.check()


def test_a_batch_that_nobody_can_read_is_parked_and_no_request_blamed(bench):
    world = bench.world
    spoil(world, world.send([row("ada"), row("bob")]))

    world.work()

    (shown,) = parked(world)
    assert shown.poisonous == ()


def test_a_batch_that_would_leave_a_request_without_outcome_is_not_answered(bench):
    world = bench.world
    (number,) = world.batch_ids(world.send([row("ada"), row("bob")]))
    with world.sessions.begin() as session:
        session.execute(update(BatchRow).where(BatchRow.id == number).values(requests=3))

    world.work()

    assert [shown.id for shown in parked(world)] == [number]
    assert world.events() == []


def test_every_parked_batch_can_be_set_free_at_once(bench):
    world = bench.world
    spoiled = [spoil(world, world.send([row("ada")])) for _ in range(2)]
    world.work()

    with world.sessions.begin() as session:
        assert quarantine.retry(session, None) == spoiled

    assert parked(world) == []
    assert set(attempts(world).values()) == {0}


# --- a worker that dies -------------------------------------------------------------------


def die_of(monkeypatch, *names):
    """Workers die while they judge one of these learners."""

    def meet(rows):
        if any(asked.request.username in names for asked in rows if not asked.is_poisonous):
            raise Died

    monkeypatch.setattr(decoded_claim, "is_armed", lambda: True)
    monkeypatch.setattr(decoded_claim, "_reach_failpoints", meet)


def work_while_they_die(bench):
    deaths = 0
    while waiting := bench.world.waiting():
        for batch_id in waiting:
            try:
                bench.world.processor.process(batch_id)
            except Died:
                deaths += 1
        bench.pass_time(**FORGOTTEN)
        bench.sweep()
    return deaths


def test_a_request_that_kills_its_workers_is_found(bench, monkeypatch):
    world = bench.world
    die_of(monkeypatch, "poison")
    file = world.send([row(f"learner{n}") for n in range(6)] + [row("poison"), row("zoe")])
    (single,) = world.ask(request("eve"))

    deaths = work_while_they_die(bench)

    assert answers(world, file) == [(ENROLLED, None)] * 6 + [POISON, (ENROLLED, None)]
    assert world.codes(single) == [ENROLLED]
    assert 4 <= deaths <= 10
    world.check()


def test_a_single_that_kills_its_workers_costs_nobody_who_waits_with_it(bench, monkeypatch):
    world = bench.world
    die_of(monkeypatch, "poison")
    singles = [world.ask(request(user))[0] for user in ("ada", "poison", "eve")]

    work_while_they_die(bench)

    assert [answers(world, one) for one in singles] == [
        [(ENROLLED, None)],
        [POISON],
        [(ENROLLED, None)],
    ]
    world.check()


def test_a_try_is_noted_before_it_is_made_once_the_batch_was_announced_again(bench, monkeypatch):
    world = bench.world
    (number,) = world.batch_ids(world.ask(request("ada"))[0])
    die_of(monkeypatch, "ada")

    deliver_and_die(world, number)
    assert attempts(world) == {number: 0}
    bench.pass_time(**FORGOTTEN)
    bench.sweep()
    deliver_and_die(world, number)
    assert attempts(world) == {number: 1}


def test_workers_that_die_by_chance_cost_nothing_but_time(bench, monkeypatch):
    world = bench.world
    world.batch_rows = 2
    file = world.send([row("ada"), row("bob"), row("eve")])
    with monkeypatch.context() as fault:
        die_of(fault, "ada")
        for _ in range(3):
            deliver_and_die(world, *world.waiting())
            bench.pass_time(**FORGOTTEN)
            bench.sweep()

    world.work()

    assert world.codes(file) == [ENROLLED] * 3
    world.check()


def die_at_any_batch(monkeypatch):
    """Workers die before they look at a row, as on a host without memory."""

    def die(*_):
        raise Died

    monkeypatch.setattr(decoded_claim, "decode_all", die)


def test_a_single_is_not_blamed_on_a_host_that_kills_workers_now_and_then(bench, monkeypatch):
    world = bench.world
    (single,) = world.ask(request("ada"))
    bench.pass_time(**FORGOTTEN)
    bench.sweep()
    dies = iter([True, True, False, True, True, False, True])  # whole, empty, whole, empty again
    read = decoded_claim.decode_all

    def die_or_read(*how):
        if next(dies, False):
            raise Died
        return read(*how)

    monkeypatch.setattr(decoded_claim, "decode_all", die_or_read)

    assert work_while_they_die(bench) == 5

    assert world.codes(single) == [ENROLLED]
    world.check()


def deaths_at(bench, batch_id, number):
    """Workers die at a batch: one unrecorded, the others recorded."""
    for _ in range(1 + number):
        deliver_and_die(bench.world, batch_id)
        bench.pass_time(**FORGOTTEN)
        bench.sweep()


@pytest.mark.parametrize("deaths", [4, 11])
def test_workers_that_die_in_a_row_for_reasons_of_their_host_do_not_park_a_batch(
    bench, monkeypatch, deaths
):
    world = bench.world
    file = world.send([row("ada"), row("bob")])
    with monkeypatch.context() as host:
        die_at_any_batch(host)
        deaths_at(bench, *world.batch_ids(file), deaths)

    world.work()

    assert parked(world) == []
    assert world.codes(file) == [ENROLLED] * 2
    world.check()


def test_a_batch_that_kills_every_worker_is_parked_and_no_request_blamed(bench, monkeypatch):
    world = bench.world
    (number,) = world.batch_ids(world.send([row("ada"), row("bob")]))
    die_at_any_batch(monkeypatch)

    deaths = work_while_they_die(bench)

    (shown,) = parked(world)
    assert (shown.id, shown.poisonous) == (number, ())
    assert deaths == 1 + FAILURES_BEFORE_SEARCH + FAILURES_TO_PARK


# --- two workers at one batch -------------------------------------------------------------


def started(world, locks, *batch_ids):
    """A worker starts attempts of batches, and has not locked them again yet."""
    with world.sessions.begin() as session:
        claimed = claims.reclaim(session, batch_ids)
        return processing_attempts.start_attempts(
            session, claimed, locks, now=database_now(session)
        ).ready


def left_open(world, *batch_ids):
    """A worker starts attempts of batches, and dies."""
    with world.sessions.attempt_locks.scope() as locks:
        return started(world, locks, *batch_ids)


def known_of(world):
    with world.sessions.read() as session:
        return dict(session.execute(select(BatchRow.id, BatchRow.suspicion)).all())


@pytest.mark.parametrize("is_old", [False, True])
def test_an_attempt_whose_worker_lives_is_left_alone_however_long_it_takes(bench, is_old):
    world = bench.world
    singles = [world.ask(request(user))[0] for user in ("ada", "bob")]
    first, second = world.waiting()
    bench.pass_time(**FORGOTTEN)
    bench.sweep()
    with world.sessions.attempt_locks.scope() as locks:
        started(world, locks, first, second)
        if is_old:
            bench.pass_time(**FORGOTTEN)

        (done,) = world.deliver(first)

        assert done == ProcessedBatches()
        assert attempts(world) == {first: 1, second: 1}
    bench.pass_time(**FORGOTTEN)
    world.work()
    assert [world.codes(one) for one in singles] == [[ENROLLED], [ENROLLED]]
    world.check()


@pytest.mark.parametrize("is_old", [False, True])
def test_where_others_attempt_the_oldest_the_next_ones_are_processed(bench, is_old):
    world = bench.world
    (oldest,), (next_one,) = world.ask(request("ada")), world.ask(request("bob"))
    first, second = world.waiting()
    bench.pass_time(**FORGOTTEN)
    with world.sessions.attempt_locks.scope() as locks:
        started(world, locks, first)
        if is_old:
            bench.pass_time(**FORGOTTEN)

        (done,) = world.deliver(first)

    assert done.batch_ids == (second,)
    assert (world.codes(oldest), world.codes(next_one)) == ([], [ENROLLED])


def test_an_attempt_that_was_left_open_counts_as_failed_and_its_batch_is_next_alone(bench):
    world = bench.world
    world.ask(request("ada"))
    world.ask(request("bob"))
    first, second = world.waiting()
    left_open(world, first)
    bench.pass_time(**FORGOTTEN)

    (done,) = world.deliver(second)

    assert done.batch_ids == (second,)
    assert [(waiting.id, waiting.alone) for waiting in done.next] == [(first, True)]
    assert known_of(world)[first]["failures"] == 1


def test_an_attempt_that_succeeds_is_not_counted(bench):
    world = bench.world
    world.ask(request("ada"))
    bench.pass_time(**FORGOTTEN)

    world.work()

    assert set(attempts(world).values()) == {0}


def test_a_record_that_could_not_be_taken_back_is_taken_back_before_the_next_work(
    bench, monkeypatch
):
    world = bench.world
    (single,) = world.ask(request("ada"))
    bench.pass_time(**FORGOTTEN)
    with monkeypatch.context() as fault:
        fault.setattr(events, "assign_positions", raising(DatabaseUnavailable))
        fault.setattr(processing_attempts, "cancel_attempts", raising(DatabaseUnavailable))
        with pytest.raises(DatabaseUnavailable):
            world.deliver(*world.batch_ids(single))
    assert list(attempts(world).values()) == [1]

    world.work()

    assert world.codes(single) == [ENROLLED]
    assert list(attempts(world).values()) == [0]


def test_what_a_worker_learns_too_late_changes_nothing(bench):
    world = bench.world
    (number,) = world.batch_ids(world.send([row(f"learner{n}") for n in range(8)]))
    bench.pass_time(**FORGOTTEN)
    (late,) = left_open(world, number)
    bench.pass_time(**FORGOTTEN)
    left_open(world, number)
    before = known_of(world)

    with world.sessions.begin() as session:
        now = database_now(session)
        assert processing_attempts.reclaim_attempted(session, [late]) == []
        processing_attempts.record_probe(session, late, now=now)
        processing_attempts.record_failures(session, [late], now=now)
        processing_attempts.record_timeouts(session, [late], now=now)
        processing_attempts.cancel_attempts(session, [late], now=now)

    assert known_of(world) == before


# --- what says nothing about the batch ----------------------------------------------------


@pytest.mark.parametrize("error", [DatabaseUnavailable, StatementTimeout, Conflict])
@pytest.mark.parametrize("announced_again", [False, True])
def test_a_database_that_is_away_or_slow_is_no_failure_of_the_batch(
    bench, monkeypatch, error, announced_again
):
    world = bench.world
    (single,) = world.ask(request("ada"))
    if announced_again:
        bench.pass_time(**FORGOTTEN)
        bench.sweep()
    with monkeypatch.context() as fault:
        fault.setattr(events, "assign_positions", raising(error))
        with pytest.raises(error):
            world.deliver(*world.batch_ids(single))

    assert list(attempts(world).values()) == [0]
    world.work()
    assert world.codes(single) == [ENROLLED]


def raising(error):
    def fail(*_, **__):
        raise error("gone")

    return fail


def test_a_batch_is_judged_again_when_somebody_was_first(bench, monkeypatch):
    world = bench.world
    (single,) = world.ask(request("ada"))
    failures = iter([Conflict("first"), Conflict("second")])
    monkeypatch.setattr(events, "assign_positions", loser(failures, events.assign_positions))

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
    failures = [Conflict("again") for _ in range(MAX_CONFLICT_ATTEMPTS + 5)]
    left = iter(failures)
    monkeypatch.setattr(events, "assign_positions", loser(left, events.assign_positions))

    with pytest.raises(Conflict):
        world.deliver(*world.batch_ids(single))

    assert len(list(left)) == 5
    assert world.enrollments() == {}


def test_a_failure_between_claim_and_answer_takes_everything_back(bench, monkeypatch):
    world = bench.world
    world.ask(request("ada"))
    before = world.dump()
    with monkeypatch.context() as faults:
        faults.setattr(strategies, "tally_outcomes", raising(DatabaseUnavailable))
        with pytest.raises(DatabaseUnavailable):
            world.deliver(*world.waiting())
    assert world.dump() == before

    world.work()

    assert set(world.enrollments().values()) == {("audit", True, (), None)}
    world.check()


# --- cancelled ----------------------------------------------------------------------------


def test_a_cancelled_file_is_answered_though_its_batch_failed_before(bench):
    world = bench.world
    file = world.send([row("ada")])
    number = spoil(world, file)
    world.deliver(number)
    with world.sessions.begin() as session:
        cancellation.request_cancel(session, file, None, now=database_now(session))

    world.deliver(number)

    assert world.submission(file).state is State.CANCELLED
    world.check()


def test_a_parked_file_that_is_cancelled_is_answered(bench):
    world = bench.world
    file = world.send([row("ada")])
    number = spoil(world, file)
    world.work()
    with world.sessions.begin() as session:
        cancellation.request_cancel(session, file, None, now=database_now(session))

    world.deliver(number)

    assert world.submission(file).state is State.CANCELLED
    world.check()


def test_a_file_that_is_cancelled_while_its_last_try_fails_is_not_parked(bench):
    world = bench.world
    file = world.send([row("ada")])
    number = spoil(world, file)
    while not parked(world):
        known = attempts(world)
        world.deliver(number)
    with world.sessions.begin() as session:
        cancellation.request_cancel(session, file, None, now=database_now(session))
        given_up = FailureSearch(attempts=known[number], is_ours=True)
        batch = quarantine.FailedBatch(number, given_up)
        quarantine.save_attempts(session, [batch], now=database_now(session))

    world.work()

    assert world.submission(file).state is State.CANCELLED
    world.check()


def test_while_the_beginning_of_a_file_is_tried_it_can_be_cancelled(bench, armed):
    world = bench.world
    armed("work.judging=raise@poison")
    file = world.send([row("ada"), row("poison"), row("eve")])
    (number,) = world.batch_ids(file)
    world.deliver(number, number, number)
    with world.sessions.begin() as session:
        cancellation.request_cancel(session, file, None, now=database_now(session))

    world.work()

    assert world.codes(file) == []
    assert world.submission(file).state is State.CANCELLED
    world.check()


def test_learners_of_a_beginning_that_was_only_tried_are_not_registered(bench, armed):
    world = bench.world
    armed("work.judging=raise@poison")
    (number,) = world.batch_ids(world.send([row("ada"), row("bob"), row("poison")]))

    world.deliver(number, number, number)

    assert world.events() == []
    assert world.enrollments() == {}
    assert "ada" not in str(world.dump()["learner"])
    assert (ADA.username, COURSE) not in world.enrollments()
