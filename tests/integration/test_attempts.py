"""Only what is known to have failed counts, however many workers meet and however slow it is."""

import signal
import threading
import time
from contextlib import contextmanager
from random import Random

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy import select, text

from enrollment.domain.codes import Code
from enrollment.domain.errors import StatementTimeout
from enrollment.domain.poison_search import MAX_TIMEOUTS, FailureSearch
from enrollment.storage import events
from enrollment.storage.engine.attempt_locks import attempt_locks_for
from enrollment.storage.engine.sessions import database_now, sessions_for
from enrollment.storage.queue import quarantine
from enrollment.storage.tables import BatchRow
from tests.support.in_process_service import World, request, row
from tests.support.maintenance_env import FORGOTTEN, MaintenanceEnv
from worker.processing import processor
from worker.processing.processor import Processor

WORKERS = 8
BATCHES = 600

ENROLLED = Code.ENROLLED


@pytest.fixture
def bench(world):
    world.course()
    return MaintenanceEnv(world)


@pytest.fixture
def postgres_world(migrated_postgres_url):
    sessions = sessions_for(migrated_postgres_url, pool_size=2)
    world = World(sessions)
    world.course()
    yield world
    sessions.dispose()


def attempts(world):
    return {batch.id: batch.attempts for batch in world.batches()}


# --- many workers -----------------------------------------------------------------------------


def overdue(world, batches):
    """Many batches of three singles each, dispatched long ago."""
    for number in range(batches):
        world.ask(*(request(f"learner{number}-{one}") for one in range(3)))
    MaintenanceEnv(world).pass_time(seconds=10)


def press(url, batch_ids, failures):
    """One worker process's work: every message, in an order of its own."""
    sessions = sessions_for(url, pool_size=2)
    processor = Processor(sessions=sessions)
    Random(threading.get_ident()).shuffle(batch_ids)
    try:
        for batch_id in batch_ids:
            processor.process(batch_id)
    except Exception as error:  # noqa: BLE001 (shown by the test)
        failures.append(error)
    finally:
        sessions.dispose()


def test_eight_workers_on_600_overdue_batches_count_no_attempt(
    postgres_world, migrated_postgres_url
):
    world = postgres_world
    overdue(world, BATCHES)
    failures: list[Exception] = []
    workers = [
        threading.Thread(target=press, args=(migrated_postgres_url, world.waiting(), failures))
        for _ in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert failures == []
    assert world.waiting() == []
    assert set(attempts(world).values()) == {0}
    assert {state.is_active for state in world.enrollments().values()} == {True}
    assert len(world.enrollments()) == 3 * BATCHES
    world.check()


# --- attempt locks ----------------------------------------------------------------------------


def test_a_lock_is_held_by_one_and_free_when_its_holder_is_gone(world):
    locks = world.sessions.attempt_locks
    with locks.scope() as mine:
        assert mine.acquire([1, 2]) == {1, 2}
        with locks.scope() as theirs:
            assert theirs.acquire([2, 3]) == {3}
    with locks.scope() as theirs:
        assert theirs.acquire([1, 2, 3]) == {1, 2, 3}


def test_postgresql_releases_the_locks_of_a_session_that_is_gone(postgres_world):
    engine = postgres_world.sessions.engine
    with attempt_locks_for(engine).scope() as mine:
        mine.acquire([1])
        with engine.connect() as other:
            other.execute(
                text(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks"
                    " WHERE locktype = 'advisory'"
                )
            )
        with attempt_locks_for(engine).scope() as theirs:
            assert theirs.acquire([1]) == {1}


def test_sqlite_leaves_no_lock_files_behind(world, tmp_path):
    with world.sessions.attempt_locks.scope() as mine:
        mine.acquire([1, 2])
    assert list(tmp_path.glob("*.attempt-*")) == []


# --- a slow database --------------------------------------------------------------------------


SLOW = """
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$
"""
TABLES = ("learner", "event", "enrollment")


@contextmanager
def slow_database(world, seconds):
    """Each statement that inserts into one of three tables takes so many seconds."""
    with world.sessions.engine.begin() as connection:
        connection.execute(text(SLOW.format(seconds=seconds)))
        for table in TABLES:
            connection.execute(
                text(
                    f"CREATE TRIGGER slow_{table} AFTER INSERT ON {table}"
                    " FOR EACH STATEMENT EXECUTE FUNCTION slowly()"
                )
            )
    yield
    with world.sessions.engine.begin() as connection:
        connection.execute(text("DROP FUNCTION slowly CASCADE"))


@pytest.mark.parametrize("is_overdue", [False, True])
def test_statements_that_take_too_long_together_blame_nobody(
    postgres_world, monkeypatch, is_overdue
):
    world = postgres_world
    file = world.send([row("ada"), row("bob"), row("eve")])
    (number,) = world.batch_ids(file)
    if is_overdue:
        MaintenanceEnv(world).pass_time(**FORGOTTEN)
    with slow_database(world, 1.0), monkeypatch.context() as limits:
        limits.setattr(processor, "ATTEMPT_SECONDS", 2.0)
        for _ in range(2):
            with pytest.raises(StatementTimeout):
                world.deliver(number)
            assert attempts(world) == {number: 0}
    world.work()

    assert world.codes(file) == [ENROLLED] * 3
    world.check()


def test_what_always_runs_out_of_time_alone_is_parked_in_the_end(bench, monkeypatch):
    world = bench.world
    (number,) = world.batch_ids(world.send([row("ada")]))
    almost = FailureSearch(timeouts=MAX_TIMEOUTS - 1)
    with world.sessions.begin() as session:
        batch = quarantine.FailedBatch(number, almost)
        quarantine.save_attempts(session, [batch], now=database_now(session))
    with monkeypatch.context() as fault:
        fault.setattr(events, "assign_positions", too_long)
        with pytest.raises(StatementTimeout):
            world.deliver(number)

    with world.sessions.read() as session:
        (shown,) = quarantine.list_parked(session, limit=10)
    assert (shown.id, shown.attempts, shown.poisonous) == (number, 0, ())


def too_long(*_, **__):
    raise StatementTimeout


def test_where_even_the_empty_prefix_is_slow_no_request_is_blamed(bench, monkeypatch):
    world = bench.world
    (number,) = world.batch_ids(world.send([row("ada"), row("bob")]))
    searching = FailureSearch(attempts=2).record_failure(2).record_failure(2)
    with world.sessions.begin() as session:
        batch = quarantine.FailedBatch(number, searching)
        quarantine.save_attempts(session, [batch], now=database_now(session))
    monkeypatch.setattr(processor, "EMPTY_PREFIX_SECONDS", -1.0)

    with pytest.raises(StatementTimeout):
        world.deliver(number)

    with world.sessions.read() as session:
        known = session.scalar(select(BatchRow.suspicion).where(BatchRow.id == number))
    assert (known["passing"], known["timeouts"]) == (-1, 1)


# --- a time limit that is reached ---------------------------------------------------------------


def interrupt_after(seconds):
    def interrupt(*_):
        raise SoftTimeLimitExceeded

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)


@pytest.fixture
def _no_alarm():
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_no_alarm")
@pytest.mark.parametrize("is_overdue", [False, True])
def test_a_limit_reached_in_a_statement_ends_it_and_frees_its_locks(postgres_world, is_overdue):
    world = postgres_world
    file = world.send([row("ada")])
    (number,) = world.batch_ids(file)
    if is_overdue:
        MaintenanceEnv(world).pass_time(**FORGOTTEN)

    with slow_database(world, 60):
        began = time.monotonic()
        interrupt_after(0.5)
        with pytest.raises(StatementTimeout):
            world.deliver(number)
        assert time.monotonic() - began < processor.ATTEMPT_SECONDS  # it was not waited for
        with world.sessions.engine.begin() as other:
            held = select(BatchRow.id).where(BatchRow.id == number).with_for_update(nowait=True)
            assert other.scalars(held).all() == [number]

    assert attempts(world) == {number: 0}
    world.work()
    assert world.codes(file) == [ENROLLED]


def test_a_limit_counts_only_where_the_attempt_used_the_processor(bench, monkeypatch):
    world = bench.world
    file = world.send([row("ada")])
    (number,) = world.batch_ids(file)

    with monkeypatch.context() as fault:
        fault.setattr(events, "assign_positions", over_the_limit)
        with pytest.raises(StatementTimeout):
            world.deliver(number)
        assert attempts(world) == {number: 0}

        fault.setattr(processor, "BLAMED_CPU_SECONDS", -1.0)
        world.deliver(number)
        assert attempts(world) == {number: 1}

    world.work()
    assert world.codes(file) == [ENROLLED]


def known_search(world, number):
    with world.sessions.read() as session:
        return session.scalar(select(BatchRow.suspicion).where(BatchRow.id == number))


def over_the_limit(*_):
    raise SoftTimeLimitExceeded


@pytest.mark.parametrize("error", [SoftTimeLimitExceeded, ArithmeticError])
def test_an_error_past_the_deadline_is_not_replaced_by_that_of_the_rollback(
    postgres_world, monkeypatch, error
):
    world = postgres_world
    (number,) = world.batch_ids(world.send([row("ada")]))
    monkeypatch.setattr(processor, "ATTEMPT_SECONDS", 1.0)
    monkeypatch.setattr(processor, "BLAMED_CPU_SECONDS", -1.0)

    def fail_late(session, *_):
        driver = session.connection().connection.driver_connection
        driver.deadline = 0.0  # it has passed: no statement is waited for, not even ROLLBACK
        raise error

    with monkeypatch.context() as fault:
        fault.setattr(events, "assign_positions", fail_late)
        world.deliver(number)

    assert attempts(world) == {number: 1}


def test_a_probe_whose_result_cannot_be_stored_is_cancelled_later(bench, monkeypatch):
    world = bench.world
    file = world.send([row("ada"), row("bob")])
    (number,) = world.batch_ids(file)
    searching = FailureSearch(attempts=2).record_failure(2).record_failure(2)
    with world.sessions.begin() as session:
        batch = quarantine.FailedBatch(number, searching)
        quarantine.save_attempts(session, [batch], now=database_now(session))
    with monkeypatch.context() as fault:
        fault.setattr(processor.attempts, "record_probe", too_long)
        with pytest.raises(StatementTimeout):
            world.deliver(number)

    assert [batch.id for batch in world.processor.uncancelled] == [number]
    world.deliver(number)
    assert world.processor.uncancelled == []
    assert known_search(world, number)["failures"] == 0
    world.work()
    assert [outcome.code for outcome in world.outcomes(file)] == [ENROLLED] * 2
