"""A fair write lock between processes and threads, for SQLite.

Two file locks form a turnstile; without it a busy worker starves the gateway's commits.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage.engine.engines import SQLITE_BUSY_SECONDS

#: Seconds between two attempts to acquire the lock.
LOCK_POLL_INTERVAL = 0.0005


class WriteLock:
    """A fair lock between threads and processes.

    Only the holder of the turnstile (the first lock) waits for the write lock, so a process that
    just wrote does not overtake one that waits already.
    """

    def __init__(self, path: Path) -> None:
        self._turnstile = path.with_name(path.name + ".turnstile")
        self._writer = path.with_name(path.name + ".writer")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the lock inside the block. Raises DatabaseUnavailable after a timeout."""
        writer = _open_lock_file(self._writer)
        try:
            turnstile = _open_lock_file(self._turnstile)
            try:
                deadline = time.monotonic() + SQLITE_BUSY_SECONDS
                _acquire(turnstile, deadline)
                _acquire(writer, deadline)
            finally:
                os.close(turnstile)
            yield
        finally:
            os.close(writer)


def _open_lock_file(path: Path) -> int:
    """Opens a lock file. Raises DatabaseUnavailable, as the database beside it is out of reach."""
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DatabaseUnavailable(str(error)) from error


def _acquire(file: int, deadline: float) -> None:
    """Locks a file. Raises DatabaseUnavailable if another process holds the lock at the deadline.

    Polls, because a blocking `flock` has no timeout.
    """
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                message = "the database is locked by another process"
                raise DatabaseUnavailable(message) from error
            time.sleep(LOCK_POLL_INTERVAL)
        else:
            return


class ThreadLock:
    """The write lock of an in-memory database, which only this process uses."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the lock inside the block."""
        with self._lock:
            yield


class NoLock:
    """No write lock: PostgreSQL locks rows."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Does nothing."""
        yield


def write_lock_for(engine: Engine) -> WriteLock | ThreadLock | NoLock:
    """Returns the lock that writers of the engine's database have to hold."""
    if engine.dialect.name != "sqlite":
        return NoLock()
    database = engine.url.database
    if database in {None, "", ":memory:"}:
        return ThreadLock()
    return WriteLock(Path(str(database)))
