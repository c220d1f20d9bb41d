"""A file is kept whole or not at all, and nobody works on it before it is complete."""

import io
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import func, select

from enrollment.domain.codes import Code, Lane, State
from enrollment.domain.errors import DatabaseUnavailable, KeyReused
from enrollment.storage import submissions
from enrollment.storage.queue import batches
from enrollment.storage.tables import BatchRow, IdempotencyRow, SubmissionRow
from enrollment.storage.views import submission_views
from schemas.files.source import FileTooLarge, UnreadableFile
from tests.support.breakpoints import Breakpoint, Side, meeting, together
from tests.support.in_process_service import ADA, COURSE, SERVER, request, row
from worker.maintenance import Maintenance


def count(world, table):
    with world.sessions.read() as session:
        return session.scalar(select(func.count()).select_from(table))


def kept(world):
    return [count(world, table) for table in (SubmissionRow, BatchRow, IdempotencyRow)]


def learners(number):
    return [row(f"learner{n}") for n in range(number)]


@pytest.fixture
def in_small_steps(world):
    """Every row is a batch, so that a file takes several transactions."""
    world.batch_rows = 1
    return world


def fails_at(call, error):
    """``batches.insert_for_submission`` as it is, until the n-th call."""
    calls = iter(range(1, 1_000))

    def add_of(*args, **kwargs):
        if next(calls) == call:
            raise error
        return batches_add_of(*args, **kwargs)

    batches_add_of = batches.insert_for_submission
    return add_of


# --- what a file becomes ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        ("text/csv", f"user,course_id\nada,{COURSE}\nbob,{COURSE}\n"),
        ("application/x-ndjson", '{"user":"ada","course_id":"C"}\n{"user":"bob","course_id":"C"}'),
        ("application/json", '[{"user":"ada","course_id":"C"},{"user":"bob","course_id":"C"}]'),
    ],
)
def test_every_format_comes_to_the_same(world, media_type, content):
    world.course()
    file = world.send(content.replace('"C"', f'"{COURSE}"').encode(), media_type=media_type)

    world.work()

    head = world.submission(file)
    assert (head.total, head.state, head.tally.counts) == (2, State.DONE, {Code.ENROLLED: 2})
    assert set(world.enrollments()) == {(COURSE, "ada"), (COURSE, "bob")}
    world.check()


@pytest.mark.parametrize(
    ("rows", "asked", "lane"),
    [
        (50, None, Lane.INTERACTIVE),
        (51, None, Lane.BULK),
        (1, Lane.BULK, Lane.BULK),
        (60, Lane.INTERACTIVE, Lane.INTERACTIVE),
    ],
)
def test_long_files_wait_in_the_bulk_lane_unless_asked_otherwise(world, rows, asked, lane):
    file = world.send(learners(rows), lane=asked)

    assert [batch.lane for batch in world.batches(file)] == [lane]
    assert world.dispatcher._inbox.get_nowait()[:2] == (world.batch_ids(file)[0], lane)


def test_only_the_first_batch_is_announced(in_small_steps):
    world = in_small_steps
    file = world.send(learners(20))

    assert [batch.announced for batch in world.batches(file)] == [True] + [False] * 19
    assert world.submission(file).total == 20


def test_small_files_in_the_interactive_lane_are_worked_together_with_singles(world):
    world.course()
    file = world.send(learners(3), lane=None)
    (single,) = world.ask(request("ada"))

    (done,) = world.deliver(world.batch_ids(single)[0])

    assert len(done.batch_ids) == 2
    assert world.submission(file).state is State.DONE
    world.check()


# --- whole or not at all ------------------------------------------------------------------


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_file_that_breaks_in_the_middle_leaves_nothing(in_small_steps, monkeypatch, call):
    world = in_small_steps
    monkeypatch.setattr(batches, "insert_for_submission", fails_at(call, OSError("no more")))

    with pytest.raises(OSError, match="no more"):
        world.send(learners(20), key="k")

    assert kept(world) == [0, 0, 0]
    file = world.publish(learners(20), key="k")
    assert not file.is_replay
    assert kept(world) == [1, 20, 1]


class BrokenDisk(io.BytesIO):
    """A spooled file that cannot be read a second time."""

    reads = 0

    def read(self, *args):
        self.reads += 1
        if self.reads > 2:
            raise OSError("no more")
        return super().read(*args)


def test_a_file_that_cannot_be_read_to_its_end_leaves_nothing(world):
    content = b"user,course_id\n" + b"ada,course-v1:Uni+Algebra+2026\n" * 30_000

    with pytest.raises(OSError, match="no more"):
        world.send(b"", file=BrokenDisk(content))

    assert kept(world) == [0, 0, 0]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", UnreadableFile),
        (b"user,course_id\n", UnreadableFile),
        (b"some,thing\n1,2\n", UnreadableFile),
    ],
)
def test_what_is_no_file_of_requests_leaves_nothing(world, content, error):
    with pytest.raises(error):
        world.send(content, key="k")

    assert kept(world) == [0, 0, 0]


def test_an_atomic_file_has_a_bound(world):
    world.max_atomic_rows = 3
    world.send(learners(3), on_error="abort")

    with pytest.raises(FileTooLarge):
        world.send(learners(4), on_error="abort", key="k")

    assert kept(world) == [1, 1, 0]


def test_a_transaction_that_met_another_is_done_again(in_small_steps, monkeypatch):
    from enrollment.domain.errors import Conflict

    world = in_small_steps
    world.course()
    monkeypatch.setattr(
        batches, "insert_for_submission", fails_at(2, Conflict("somebody was first"))
    )

    file = world.send(learners(20))
    world.work()

    assert world.codes(file) == [Code.ENROLLED] * 20
    world.check()


# --- not before it is complete ------------------------------------------------------------


@pytest.fixture
def left_behind(in_small_steps, monkeypatch):
    """What a gateway that was killed in the middle of a file leaves."""
    world = in_small_steps
    with monkeypatch.context() as faults:
        faults.setattr(batches, "insert_for_submission", fails_at(3, DatabaseUnavailable("gone")))
        faults.setattr(submissions, "delete_unpublished", gone)
        with pytest.raises(DatabaseUnavailable):
            world.send(learners(20), hours_ago=25)
    assert kept(world) == [1, 16, 0]
    return world


def gone(*_):
    raise DatabaseUnavailable("gone")


def test_workers_do_not_see_an_incomplete_file(left_behind):
    world = left_behind
    world.course()

    assert [done.batch_ids for done in world.deliver(*(b.id for b in world.batches()))] == [()] * 16

    assert sweeper(world).redispatch_overdue() == 0
    assert world.waiting() == []
    assert world.enrollments() == {}


def test_callers_do_not_see_an_incomplete_file(left_behind):
    with left_behind.sessions.read() as session:
        assert submission_views.page(session, "key:admin", states=(), after=None, limit=9) == []


def test_an_incomplete_file_is_swept(left_behind):
    world = left_behind
    fresh = world.send(learners(2))

    sweeper(world).purge_expired()

    assert kept(world) == [1, 2, 0]
    assert world.submission(fresh).published


def sweeper(world):
    return Maintenance(
        sessions=world.sessions, dispatch=lambda waiting: True, queue_length=lambda lane: 0
    )


# --- Idempotency-Keys ---------------------------------------------------------------------


def test_the_same_file_again_is_the_same_submission(world):
    first = world.publish(learners(3), key="k")
    again = world.publish(learners(3), key="k")

    assert (first.is_replay, again.is_replay) == (False, True)
    assert again.submission_id == first.submission_id
    assert kept(world) == [1, 1, 1]


def test_another_file_under_the_same_key_is_refused_and_not_stored(world):
    world.publish(learners(3), key="k")

    with pytest.raises(KeyReused):
        world.publish(learners(4), key="k")

    assert kept(world) == [1, 1, 1]


def test_keys_belong_to_their_callers(world):
    world.publish(learners(3), key="k", caller=SERVER)

    assert not world.publish(learners(4), key="k", caller=ADA).is_replay


def test_without_a_key_the_same_file_is_another_submission(world):
    assert world.send(learners(1)) != world.send(learners(1))


def test_two_gateways_at_once_publish_it_once(world):
    published = together(*[partial(world.publish, learners(3), key="k")] * 2)

    assert len({one.submission_id for one in published}) == 1
    assert kept(world) == [1, 1, 1]


@pytest.mark.parametrize("bodies", [(3, 3), (3, 4)], ids=["the-same", "another"])
def test_two_gateways_that_both_have_stored_it_publish_it_once(postgres_world, bodies):
    world = postgres_world

    def publish(rows):
        try:
            return world.publish(learners(rows), key="k").is_replay
        except KeyReused:
            return "reused"

    with meeting(world.sessions, "INSERT INTO idempotency"):
        published = together(*(partial(publish, rows) for rows in bodies))

    second = True if bodies[0] == bodies[1] else "reused"
    assert sorted(published, key=str) == sorted([False, second], key=str)
    assert kept(world) == [1, 1, 1]


# --- the moment of receipt ----------------------------------------------------------------


def test_a_file_is_received_when_its_first_byte_was_read_however_long_it_took(world):
    world.course(enrollment_end=datetime.now(UTC) - timedelta(hours=1))
    file = world.send(learners(2), hours_ago=3)

    world.work()

    assert world.codes(file) == [Code.ENROLLED] * 2


def test_singles_get_in_between_the_transactions_of_a_file(postgres_world):
    world = postgres_world
    world.batch_rows = 1
    world.course()

    with Breakpoint(world.sessions, "UPDATE submission") as halt:
        upload = Side(lambda: world.send(learners(20)))
        halt.until_reached()
        (single,) = world.ask(request("ada"))
        world.work()
        assert world.answer(single) == (Code.ENROLLED, None)
        assert len(world.enrollments()) == 1
        halt.go_on()
        file = upload.join()
    world.work()

    assert world.codes(file) == [Code.ENROLLED] * 20
    world.check()
