"""A statement that never ends, a learner who goes meanwhile, an upload that was swept."""

import errno
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy import event, text

from enrollment.domain import poison_search
from enrollment.domain.codes import Code, Lane
from enrollment.domain.errors import Conflict, DatabaseUnavailable, StatementTimeout
from enrollment.storage import learners, uploads
from enrollment.storage.engine import write_lock
from enrollment.storage.engine.write_lock import WriteLock
from enrollment.storage.queue import batches, claims, quarantine, redispatch
from schemas.outcomes import decode_outcomes
from tests.support.in_process_service import request, row
from tests.support.maintenance_env import FORGOTTEN, MaintenanceEnv


def under(sessions, limit, work):
    """Do the work in a transaction that has little patience."""
    with sessions.begin() as session:
        session.execute(text(f"SET LOCAL {limit} = 50"))
        work(session)


def sleep(session):
    session.execute(text("SELECT pg_sleep(5)"))


def test_a_statement_that_takes_too_long_is_named(postgres_world):
    with pytest.raises(StatementTimeout):
        under(postgres_world.sessions, "statement_timeout", sleep)


def test_a_batch_that_takes_too_long_is_worked_by_itself(world, monkeypatch):
    world.course()
    world.ask(request("ada"))
    (number,) = world.waiting()

    def too_long(*_args, **_kwargs):
        message = "cancelled"
        raise StatementTimeout(message)

    with monkeypatch.context() as faults:
        faults.setattr(batches, "complete", too_long)
        with pytest.raises(StatementTimeout):
            world.processor.process(number)

    with world.sessions.read() as session:
        assert claims.lane_of(session, number) == ("interactive", True)
    assert world.processor.process(number).batch_ids == (number,)
    world.check()


def ask_two(world):
    for user in ("ada", "bob"):
        world.ask(request(user))


#: How each sort of work comes in.
SORTS = {
    "singles": ask_two,
    "file": lambda world: world.send([row("ada"), row("bob")]),
    "all or nothing": lambda world: world.send([row("ada"), row("bob")], on_error="abort"),
    "dry run": lambda world: world.send([row("ada"), row("bob")], dry_run=True),
    "file in the interactive lane": lambda world: world.send([row("ada")], lane=Lane.INTERACTIVE),
}


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("error", [StatementTimeout, SoftTimeLimitExceeded])
def test_what_always_takes_too_long_is_parked_whatever_it_is(world, monkeypatch, sort, error):
    def too_long(*_args, **_kwargs):
        raise error

    world.course()
    world.one_at_a_time()
    SORTS[sort](world)
    monkeypatch.setattr(poison_search, "MAX_TIMEOUTS", 3)
    deliveries = 0
    with monkeypatch.context() as faults:
        faults.setattr(batches, "complete", too_long)
        while waiting := world.waiting():
            MaintenanceEnv(world).pass_time(**FORGOTTEN)
            for number in waiting:
                deliveries += 1
                with pytest.raises(StatementTimeout):
                    world.deliver(number)
            assert deliveries < 20

    with world.sessions.begin() as session:
        parked = quarantine.list_parked(session, limit=10)
        assert {(batch.attempts, batch.poisonous) for batch in parked} == {(0, ())}
        quarantine.retry(session, None)
    world.work()
    assert {outcome.code for outcome in outcomes(world)} == {Code.ENROLLED}
    world.check()


def outcomes(world):
    with world.sessions.read() as session:
        stored = [batches.find_result(session, batch.id) for batch in world.batches()]
    return [outcome for result in stored for outcome in decode_outcomes(result.outcomes)]


def test_a_machine_that_has_no_room_left_says_nothing_about_a_batch(world, monkeypatch):
    world.course()
    world.ask(request("ada"))
    (number,) = world.waiting()

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as faults:
        faults.setattr(batches, "complete", full)
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                world.processor.process(number)

    assert [batch.attempts for batch in world.batches()] == [0]
    assert world.processor.process(number).batch_ids == (number,)
    world.check()


def test_batches_that_only_waited_long_are_still_worked_together(world):
    world.course()
    world.ask(request("ada"))
    world.ask(request("bob"))
    first, second = world.waiting()
    later = datetime(2100, 1, 1, tzinfo=UTC)

    for _ in range(5):
        with world.sessions.begin() as session:
            redispatch.mark_redispatched(
                session, Lane.INTERACTIVE, before=later, now=datetime.now(UTC), limit=10
            )

    assert world.processor.process(second).batch_ids == (first, second)
    world.check()


def test_a_learner_cannot_go_while_a_batch_enrolls_them(postgres_world):
    world = postgres_world
    world.course()
    world.learner("ada")
    world.ask(request("ada"))
    (number,) = world.waiting()
    refused = []

    def delete_meanwhile(_connection, _cursor, statement, *_):
        if "INSERT INTO enrollment" not in statement or refused:
            return
        with pytest.raises(Conflict) as waited:
            under(world.sessions, "lock_timeout", lambda session: learners.delete(session, "ada"))
        refused.append(waited.value)

    event.listen(world.sessions.engine, "before_cursor_execute", delete_meanwhile)
    world.processor.process(number)
    event.remove(world.sessions.engine, "before_cursor_execute", delete_meanwhile)

    assert refused
    world.check()


def test_a_file_that_was_swept_is_not_published(sessions):
    now = datetime.now(UTC)

    with pytest.raises(DatabaseUnavailable, match="purged"), sessions.begin() as session:
        uploads.publish(session, uuid4(), total=1, intake=1, files=None, now=now)


def test_who_holds_the_database_too_long_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(write_lock, "SQLITE_BUSY_SECONDS", 0.01)
    lock = WriteLock(tmp_path / "x.sqlite3")
    with (
        WriteLock(tmp_path / "x.sqlite3").held(),
        pytest.raises(DatabaseUnavailable, match="locked by another process"),
        lock.held(),
    ):
        pytest.fail("the lock was given twice")

    held = False
    with lock.held():
        held = True
    assert held
