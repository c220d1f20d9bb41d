"""What is no longer kept is deleted in turns, in portions, all of it, and whatever else fails."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import event, func, insert, select, text, update
from structlog.testing import capture_logs

from enrollment.domain.errors import DatabaseUnavailable
from enrollment.runtime.broker import QueueName, TaskName
from enrollment.runtime.completion_channel import CompletionPublisher
from enrollment.storage import uploads
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import (
    BatchRow,
    IdempotencyRow,
    MaintenanceRow,
    RecordStatesRow,
    SubmissionRow,
)
from enrollment.storage.upkeep import maintenance_turns, retention
from tests.fault_lab.simulator.service import Tasks
from tests.support.in_process_service import request, row
from tests.support.maintenance_env import MaintenanceEnv
from worker.celery_app import make_celery_app
from worker.post_commit import PostCommitNotifier
from worker.purge import BATCHES_PER_PORTION, KEYS_PER_PORTION, PAUSE_SECONDS, Purge

MANY = 20_000
LONG_AGO = datetime.now(UTC) - timedelta(days=400)


@pytest.fixture
def bench(world):
    world.course()
    return MaintenanceEnv(world)


def expire_many(world):
    """Copies an expired single and its key many times, each in a batch of its own."""
    (single,) = world.ask(request("ada"))
    world.work()
    with world.sessions.begin() as session:
        (number,) = world.batch_ids(single)
        batch = dict(session.execute(select(*BatchRow.__table__.c)).mappings().one())
        head = dict(session.execute(select(*SubmissionRow.__table__.c)).mappings().one())
        batch |= {"answered_at": LONG_AGO}
        ids = range(number + 1, number + MANY + 1)
        session.execute(insert(BatchRow.__table__), [batch | {"id": new} for new in ids])
        session.execute(
            insert(SubmissionRow.__table__),
            [head | {"id": submission_of(new), "batch_id": new} for new in ids],
        )
        session.execute(insert(IdempotencyRow.__table__), [key_of(new) for new in ids])


def submission_of(number):
    return UUID(int=number)


def key_of(number):
    created = LONG_AGO + timedelta(seconds=number)
    return {
        "caller": "key:sis",
        "key": str(number),
        "fingerprint": b"",
        "submission_id": submission_of(number),
        "created": created,
    }


@contextmanager
def deleted_rows(sessions):
    """Collects the number of rows of each DELETE inside the block."""
    rows = []

    def note(_connection, cursor, statement, *_):
        if statement.startswith("DELETE"):
            rows.append(cursor.rowcount)

    event.listen(sessions.engine, "after_cursor_execute", note)
    yield rows
    event.remove(sessions.engine, "after_cursor_execute", note)


def number_of(world, table):
    with world.sessions.read() as session:
        return session.scalar(select(func.count()).select_from(table))


def ended_at(world):
    with world.sessions.read() as session:
        return maintenance_turns.last_end(session)


def set_turns(world, **values):
    with world.sessions.begin() as session:
        session.execute(update(MaintenanceRow).values(values))


# --- how much, and when -------------------------------------------------------------------


def test_any_number_is_deleted_in_portions_and_a_single_is_processed_between_turns(bench):
    world = bench.world
    expire_many(world)
    bench.make_purge_due()

    with deleted_rows(world.sessions) as rows:
        following = bench.purge.run_turn()
        (single,) = world.ask(request("bob"))
        world.deliver(*world.batch_ids(single))
        left = number_of(world, BatchRow)
        turns = 1
        while following is not None:
            following = bench.purge.run_turn(following)
            turns += 1

    assert world.codes(single) == ["enrolled"]
    assert left > MANY / 2
    assert turns > 2
    assert max(rows) <= max(KEYS_PER_PORTION, BATCHES_PER_PORTION)
    assert number_of(world, IdempotencyRow) == 0
    assert number_of(world, BatchRow) == number_of(world, SubmissionRow) == 2


def test_a_portion_of_large_groups_of_singles_is_bounded_by_the_singles(bench, monkeypatch):
    monkeypatch.setattr(retention, "MAX_SINGLES", 5)
    world = bench.world
    for n in range(4):
        world.ask(*(request(f"a{n}.{m}") for m in range(4)))
    world.work()
    bench.pass_time(days=40)

    with deleted_rows(world.sessions) as rows:
        bench.purge_all()

    assert max(rows) == 4
    assert number_of(world, SubmissionRow) == 0


def test_a_large_file_disappears_at_once_and_is_deleted_in_portions(bench):
    world = bench.world
    world.batch_rows = 1
    file = world.send([row(f"learner{n}") for n in range(250)])
    world.work()
    bench.pass_time(days=40)
    with world.sessions.begin() as session:
        assert retention.hide_expired_files(session, before=datetime.now(UTC), limit=100)
        assert not retention.hide_expired_files(session, before=datetime.now(UTC), limit=100)

    left = []
    with deleted_rows(world.sessions) as rows:
        while number_of(world, SubmissionRow):
            assert not world.submission(file).published
            with world.sessions.begin() as session:
                assert retention.delete_hidden_files(session, limit=100)
            left.append(number_of(world, BatchRow))
            world.check()

    assert left == [150, 50, 0]
    assert max(rows) == 100


def test_an_upload_that_is_given_up_can_no_longer_be_published(bench):
    world = bench.world
    file = world.send([row("ada")])
    unpublish(world, file)
    with world.sessions.begin() as session:
        now = datetime.now(UTC)
        assert retention.hide_abandoned_uploads(session, before=now, now=now, limit=10)

    with pytest.raises(DatabaseUnavailable, match="abandoned"), world.sessions.begin() as session:
        uploads.publish(session, file, total=1, intake=1, files=None, now=now)


def unpublish(world, file):
    with world.sessions.begin() as session:
        upload = update(SubmissionRow).where(SubmissionRow.id == file)
        session.execute(upload.values(published_at=None, intake=None))


# --- turns --------------------------------------------------------------------------------


def test_the_first_turn_runs_if_the_last_purge_ended_an_hour_ago(bench):
    set_turns(bench.world, ended_at=datetime.now(UTC) - timedelta(minutes=59))
    assert bench.purge.run_turn() is None
    before = ended_at(bench.world)

    set_turns(bench.world, ended_at=datetime.now(UTC) - timedelta(minutes=61))
    replace(bench.purge, monotonic=lambda: 0.0).run_turn()  # however busy the machine is

    assert ended_at(bench.world) > before


def test_a_turn_whose_message_comes_twice_is_run_once(bench):
    bench.make_purge_due()
    following = begin(bench)

    assert begin(bench, following) == following + 1
    assert begin(bench, following) is None
    assert bench.purge.run_turn(following) is None


def begin(bench, turn=None):
    """Begins a turn that does not end."""
    endless = Purge(sessions=bench.world.sessions, monotonic=iter(range(10**6)).__next__)
    return endless.run_turn(turn)


def test_a_chain_of_turns_whose_message_is_lost_is_started_again(bench):
    bench.make_purge_due()
    lost = begin(bench)
    assert bench.purge.run_turn() is None  # it may be under way

    set_turns(bench.world, turn_at=datetime.now(UTC) - timedelta(minutes=2))
    assert begin(bench) == lost + 1
    assert begin(bench, lost) is None


# --- failures -----------------------------------------------------------------------------


@contextmanager
def no_keys_can_be_deleted(sessions):
    """Makes the database refuse to delete keys."""
    with sessions.begin() as session:
        if is_postgresql(session):
            session.execute(
                text(
                    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
                    " 'BEGIN RAISE EXCEPTION ''refused''; END'"
                )
            )
            session.execute(
                text(
                    "CREATE TRIGGER refusal BEFORE DELETE ON idempotency"
                    " FOR EACH ROW EXECUTE FUNCTION refuse()"
                )
            )
        else:
            session.execute(
                text(
                    "CREATE TRIGGER refusal BEFORE DELETE ON idempotency"
                    " BEGIN SELECT RAISE(ABORT, 'refused'); END"
                )
            )
    yield
    with sessions.begin() as session:
        on = " ON idempotency" if is_postgresql(session) else ""
        session.execute(text(f"DROP TRIGGER refusal{on}"))


def test_a_part_that_fails_stops_no_other_and_is_tried_again(bench):
    world = bench.world
    world.ask(request("ada"))
    world.publish([row("bob")], key="k")
    world.work()
    bench.pass_time(days=40)
    clock = [0.0]
    bench.purge = Purge(sessions=world.sessions, monotonic=lambda: clock[0])

    with no_keys_can_be_deleted(world.sessions), capture_logs() as logs:
        bench.purge_all()

    assert [entry["part"] for entry in logs if entry["event"] == "purge.part_failed"] == ["keys"]
    assert number_of(world, SubmissionRow) == number_of(world, BatchRow) == 0
    assert number_of(world, IdempotencyRow) == 1
    assert datetime.now(UTC) - ended_at(world) > timedelta(days=1)
    clock[0] += PAUSE_SECONDS
    bench.purge_all()
    assert number_of(world, IdempotencyRow) == 0
    assert datetime.now(UTC) - ended_at(world) < timedelta(minutes=5)


# --- messages -----------------------------------------------------------------------------


def test_a_turn_is_dispatched_on_the_last_queue_and_the_first_one_by_beat(bench):
    app = make_celery_app("redis://127.0.0.1:1/0")
    sent = []
    app.send_task = lambda name, *, args, queue, **_: sent.append((name, args, queue))
    endless = Purge(sessions=bench.world.sessions, monotonic=iter(range(10**6)).__next__)
    notifier = PostCommitNotifier(app, CompletionPublisher("redis://127.0.0.1:1/0"))
    tasks = Tasks(bench.world.processor, bench.sweeper, endless, notifier)
    bench.make_purge_due()

    tasks.run(TaskName.PURGE)
    tasks.run(TaskName.PURGE, 1)
    for strange in (1, -1, "nonsense", True, [2]):
        tasks.run(TaskName.PURGE, strange)

    assert [queue for _, _, queue in sent] == [QueueName.BULK.value] * 2 == [max(QueueName)] * 2
    assert [args for _, args, _ in sent] == [[1], [2]]
    entry = app.conf.beat_schedule["purge"]
    assert (entry["schedule"], entry["options"]["queue"]) == (60.0, QueueName.BULK.value)


def test_states_of_records_are_deleted_in_portions_too(bench):
    world, limit = bench.world, 100
    file = world.send([row("ada")])
    world.work()
    with world.sessions.begin() as session:
        states = [{"submission_id": file, "ordinal": n, "states": b""} for n in range(250)]
        session.execute(insert(RecordStatesRow), states)
        hidden = update(SubmissionRow).where(SubmissionRow.id == file)
        session.execute(hidden.values(published_at=None, finished_at=LONG_AGO))

    with deleted_rows(world.sessions) as deleted:
        for _ in range(4):
            with world.sessions.begin() as session:
                retention.delete_hidden_files(session, limit=limit)

    assert max(deleted) <= limit
    assert [number_of(world, table) for table in (RecordStatesRow, SubmissionRow)] == [0, 0]
