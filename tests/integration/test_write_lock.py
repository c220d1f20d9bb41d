"""Transactions begin, commit, and give way to each other; vendors' errors become ours."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import OperationalError, ProgrammingError

from enrollment.domain.errors import Conflict, DatabaseUnavailable
from enrollment.storage.engine.engines import make_engine
from enrollment.storage.engine.sessions import Sessions, database_now, sessions_for
from enrollment.storage.engine.write_lock import WriteLock, _lock
from enrollment.storage.tables import Base, EditionRow, SecretRow
from tests.support.breakpoints import PATIENCE, Side, together

HOLDER = """
import sys
from pathlib import Path
from enrollment.storage.engine.write_lock import WriteLock, _lock
with WriteLock(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.sqlite3"


@contextmanager
def started_holder(path):
    """Another process takes the lock when it can; it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def held_elsewhere(path):
    """Another process holds the lock."""
    with started_holder(path) as process:
        assert process.stdout.readline() == b"held\n"
        yield process


def is_taken(path):
    """Whether somebody holds the lock, or a ticket."""
    with path.with_name(f"{path.name}.tickets").open("a+b") as file:
        try:
            _lock(file.fileno(), fcntl.F_WRLCK, 1, 0)
        except BlockingIOError:
            return True
    return False


def last_ticket(path):
    return int.from_bytes(path.with_name(f"{path.name}.tickets").read_bytes(), "little")


def wait_in_line(lock, path, names, name):
    """A thread that takes the lock; returns when it has its ticket."""
    ticket = last_ticket(path)

    def take():
        with lock.held():
            names.append(name)

    side = Side(take)
    while last_ticket(path) == ticket:
        assert side.is_running
    return side


# --- the lock -----------------------------------------------------------------------------


def test_only_one_is_inside(path):
    inside = []

    def count(_):
        with WriteLock(path).held():
            inside.append(1)
            assert len(inside) == 1
            inside.clear()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(100)))


def test_whoever_waits_goes_before_the_one_who_just_wrote(path):
    lock, names = WriteLock(path), []

    with lock.held():
        other = wait_in_line(lock, path, names, "other")
        names.append("first")
    with lock.held():
        names.append("first again")
    other.join()

    assert names == ["first", "other", "first again"]


def test_those_who_wait_write_in_the_order_in_which_they_came(path):
    lock, names = WriteLock(path), []
    waiting = [str(number) for number in range(12)]

    with lock.held():
        sides = [wait_in_line(lock, path, names, name) for name in waiting]
    for side in sides:
        side.join()

    assert names == waiting


def test_a_dead_process_does_not_let_anybody_pass_those_before_it(path):
    lock, names = WriteLock(path), []

    with lock.held():
        first = wait_in_line(lock, path, names, "first")
        ticket = last_ticket(path)
        with started_holder(path) as process:
            while last_ticket(path) == ticket:
                assert process.poll() is None
            last = wait_in_line(lock, path, names, "last")
        assert names == []
    first.join()
    last.join()

    assert names == ["first", "last"]


def test_a_file_of_tickets_that_cannot_be_written_is_a_database_out_of_reach(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)

    with pytest.raises(DatabaseUnavailable, match="No space"), WriteLock(path).held():
        pytest.fail("it wrote")

    assert not is_taken(path)


def test_the_lock_holds_between_processes(path):
    with held_elsewhere(path):
        assert is_taken(path)

    assert not is_taken(path)


def test_a_process_that_is_killed_holds_nothing(path):
    with held_elsewhere(path) as process:
        process.kill()
        process.wait(PATIENCE)
        with WriteLock(path).held():
            pass


def test_the_lock_is_free_after_a_failure(path):
    lock = WriteLock(path)
    with pytest.raises(ZeroDivisionError), lock.held():
        _ = 1 / 0

    assert not is_taken(path)


# --- transactions -------------------------------------------------------------------------


def keep(session, name):
    session.execute(insert(SecretRow).values(name=name, value=b"v"))


def names(sessions):
    with sessions.read() as session:
        return set(session.scalars(select(SecretRow.name)))


def test_a_block_that_ends_is_kept_and_one_that_fails_is_not(sessions):
    with sessions.begin() as session:
        keep(session, "kept")
    with pytest.raises(ZeroDivisionError), sessions.begin() as session:
        _ = keep(session, "lost"), 1 / 0

    assert names(sessions) == {"kept"}


def test_a_reading_block_keeps_nothing(sessions):
    with sessions.read() as session:
        keep(session, "lost")

    assert names(sessions) == set()


def test_many_writers_all_come_through(database_url):
    several = [sessions_for(database_url, pool_size=2) for _ in range(3)]

    def raise_by_one(number):
        with several[number % 3].begin() as session:
            number = session.scalar(select(EditionRow.number).with_for_update())
            session.execute(update(EditionRow).values(number=number + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(raise_by_one, range(60)))

    with several[0].read() as session:
        assert session.scalar(select(EditionRow.number)) == 61
    for sessions in several:
        sessions.dispose()


def test_a_reader_does_not_see_what_is_not_committed(sessions):
    with sessions.begin() as session:
        keep(session, "soon")
        assert names(sessions) == set()
    assert names(sessions) == {"soon"}


def test_in_memory_the_lock_is_one_of_threads():
    sessions = sessions_for("sqlite://")
    Base.metadata.create_all(sessions.engine)

    def write(number):
        with sessions.begin() as session:
            keep(session, f"n{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(40)))

    assert len(names(sessions)) == 40
    sessions.dispose()


# --- errors -------------------------------------------------------------------------------


def test_nonsense_is_our_own_error(sessions):
    with (
        pytest.raises((ProgrammingError, OperationalError)),
        sessions.read() as session,
    ):
        session.execute(text("SELECT nonsense()"))


@pytest.mark.parametrize(
    "url", ["sqlite:////no/such/folder/x.sqlite3", "postgresql+psycopg://nobody@127.0.0.1:1/x"]
)
@pytest.mark.parametrize("way", ["begin", "read"])
def test_a_database_that_is_away_is_named(url, way):
    with (
        pytest.raises(DatabaseUnavailable),
        getattr(Sessions(make_engine(url)), way)() as session,
    ):
        session.execute(text("SELECT 1"))


def test_a_pool_that_is_empty_does_not_make_wait_for_ever(database_url):
    sessions = Sessions(make_engine(database_url, pool_size=1, pool_timeout=0.01))

    with sessions.read() as first:
        first.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnavailable), sessions.read() as second:
            second.execute(text("SELECT 1"))
    sessions.dispose()


def test_of_two_that_wait_for_each_other_one_is_told_to_begin_again(postgres_world):
    sessions = postgres_world.sessions
    for name in ("a", "b"):
        with sessions.begin() as session:
            keep(session, name)
    both_hold_one = threading.Barrier(2)

    def lock(first, second):
        try:
            with sessions.begin() as session:
                for name in (first, second):
                    found = select(SecretRow.name).where(SecretRow.name == name)
                    session.execute(found.with_for_update()).all()
                    if name == first:
                        both_hold_one.wait(PATIENCE)
        except Conflict:
            return "conflict"
        return "through"

    assert sorted(together(lambda: lock("a", "b"), lambda: lock("b", "a"))) == [
        "conflict",
        "through",
    ]


def test_a_connection_that_was_cut_is_made_anew(postgres_world):
    sessions = postgres_world.sessions

    def be_cut_off():
        with sessions.begin() as session:
            keep(session, "lost")
            session.execute(select(func.pg_terminate_backend(func.pg_backend_pid())))

    with pytest.raises(DatabaseUnavailable):
        be_cut_off()

    with sessions.begin() as session:
        keep(session, "kept")
    assert names(sessions) == {"kept"}


def test_a_moment_is_on_the_clock_of_the_database_and_in_utc(sessions):
    with sessions.read() as session:
        now = database_now(session)

    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)
