"""Submissions that end before their time: cancelled on request, or all for one that failed."""

import pytest

from enrollment.domain.codes import Code, Reason, State, SubmissionResult
from enrollment.domain.errors import SubmissionFinished, SubmissionNotFound
from enrollment.storage import cancellation
from enrollment.storage.engine.sessions import database_now
from tests.support.breakpoints import Breakpoint, Side
from tests.support.in_process_service import ADA, COURSE, SERVER, request, row

ENROLLED = Code.ENROLLED


def cancel(world, submission_id, caller=None):
    with world.sessions.begin() as session:
        cancellation.request_cancel(session, submission_id, caller, now=database_now(session))


def learners(number):
    return [row(f"learner{n}") for n in range(number)]


# --- cancelling ---------------------------------------------------------------------------


def test_a_queued_file_is_cancelled_whole(world):
    world.batch_rows = 2
    world.course()
    file = world.send(learners(5))
    cancel(world, file)
    assert world.submission(file).state is State.QUEUED

    world.work()

    head = world.submission(file)
    assert (head.state, head.result) == (State.CANCELLED, SubmissionResult.FAILED)
    assert head.tally.counts == {Code.CANCELLED: 5}
    assert world.enrollments() == {}
    assert all(batch.answered for batch in world.batches(file))
    world.check()


def test_of_a_running_file_what_is_answered_stays(world):
    world.one_at_a_time()
    world.batch_rows = 2
    world.course()
    file = world.send(learners(5))
    world.deliver(*world.batch_ids(file)[:1])
    cancel(world, file)
    assert world.submission(file).state is State.RUNNING

    world.work()

    head = world.submission(file)
    assert (head.state, head.result) == (State.CANCELLED, SubmissionResult.PARTIAL)
    assert head.tally.counts == {ENROLLED: 2, Code.CANCELLED: 3}
    assert len(world.enrollments()) == 2
    world.check()


def test_a_single_is_cancelled_and_its_neighbours_are_not(world):
    world.course()
    ada, bob = world.ask(request("ada"), request("bob"))
    cancel(world, ada)
    cancel(world, ada)

    world.work()

    assert world.answer(ada) == (Code.CANCELLED, None)
    assert world.answer(bob) == (ENROLLED, None)
    assert set(world.enrollments()) == {(COURSE, "bob")}
    world.check()


def test_what_is_done_can_no_longer_be_cancelled(world):
    world.course()
    (single,) = world.ask(request("ada"))
    file = world.send(learners(1))
    world.work()

    for submission_id in (single, file):
        before = world.dump()
        with pytest.raises(SubmissionFinished):
            cancel(world, submission_id)
        assert world.dump() == before


def test_what_is_cancelled_can_no_longer_be_cancelled(world):
    world.course()
    file = world.send(learners(1))
    cancel(world, file)
    world.work()

    with pytest.raises(SubmissionFinished):
        cancel(world, file)


def test_somebody_elses_submission_is_not_found(world):
    world.course()
    (single,) = world.ask(request("ada"), caller=ADA)

    with pytest.raises(SubmissionNotFound):
        cancel(world, single, SERVER.name)
    cancel(world, single, ADA.name)


def test_a_single_in_work_is_answered_and_no_longer_cancelled(postgres_world):
    world = postgres_world
    world.course()
    (single,) = world.ask(request("ada"))
    (number,) = world.batch_ids(single)

    with Breakpoint(world.sessions, "INSERT INTO enrollment") as halt:
        batch = Side(lambda: world.processor.process(number))
        halt.until_reached()
        cancelling = Side(lambda: cancel(world, single))
        halt.go_on()
        batch.join()
        with pytest.raises(SubmissionFinished):
            cancelling.join()

    assert world.answer(single) == (ENROLLED, None)
    world.check()


def test_of_a_file_in_work_the_batch_in_work_stays_and_the_rest_is_cancelled(postgres_world):
    world = postgres_world
    world.one_at_a_time()
    world.batch_rows = 2
    world.course()
    file = world.send(learners(5))
    number = world.batch_ids(file)[0]

    with Breakpoint(world.sessions, "INSERT INTO enrollment") as halt:
        batch = Side(lambda: world.processor.process(number))
        halt.until_reached()
        cancel(world, file)
        assert world.submission(file).finished_at is None
        halt.go_on()
        batch.join()
    world.work()

    assert world.submission(file).state is State.CANCELLED
    assert world.submission(file).tally.counts == {ENROLLED: 2, Code.CANCELLED: 3}
    world.check()


def test_a_batch_in_work_elsewhere_is_passed_over_not_waited_for(postgres_world):
    world = postgres_world
    world.course()
    (single,) = world.ask(request("ada"))
    (number,) = world.batch_ids(single)

    with Breakpoint(world.sessions, "INSERT INTO enrollment") as halt:
        batch = Side(lambda: world.processor.process(number))
        halt.until_reached()
        assert world.processor.process(number).batch_ids == ()
        halt.go_on()
        assert batch.join().batch_ids == (number,)
    world.check()


# --- all or nothing -----------------------------------------------------------------------


def test_an_atomic_file_without_a_failure_is_like_any_other(world):
    world.batch_rows = 2
    world.course()
    file = world.send(learners(5), on_error="abort")

    assert len(world.batch_ids(file)) == 1
    world.work()

    assert world.codes(file) == [ENROLLED] * 5
    world.check()


def test_an_atomic_file_may_say_what_is_true_already(world):
    world.course()
    world.send(learners(3))
    world.work()
    file = world.send(learners(3), on_error="abort")

    world.work()

    assert world.codes(file) == [Code.UNCHANGED] * 3


@pytest.mark.parametrize(
    ("bad", "own"),
    [
        pytest.param("eve,course-v1:No+Such+Course", Reason.COURSE_NOT_FOUND, id="refused"),
        pytest.param("eve,nonsense", Reason.INVALID_ROW, id="invalid"),
    ],
)
def test_one_bad_row_refuses_all_others_of_an_atomic_file(world, bad, own):
    world.course()
    world.ask(request("zoe"))
    world.work()
    before = world.events()
    file = world.send(
        f"user,course_id\nada,{COURSE}\nbob,nonsense at all\n{bad}\nzoe,{COURSE}\n".encode()
        if own is Reason.INVALID_ROW
        else f"user,course_id\nada,{COURSE}\n{bad}\nzoe,{COURSE}\n".encode(),
        on_error="abort",
    )

    world.work()

    reasons = [outcome.reason for outcome in world.outcomes(file)]
    assert reasons[0] is reasons[-1] is Reason.ABORTED
    assert set(reasons[1:-1]) == {own}
    assert world.events() == before
    assert set(world.enrollments()) == {(COURSE, "zoe")}
    assert world.submission(file).result is SubmissionResult.FAILED
    world.check()
