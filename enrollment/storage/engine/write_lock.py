"""A fair write lock between processes and threads, for SQLite.

Two file locks form a turnstile: without it a busy worker starves the gateway's commits.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from enrollment.domain.errors import RecordsUnavailable
from enrollment.storage.engine.engines import (
    SQLITE_BUSY_SECONDS,
)

#: Seconds between two questions for the lock of SQLite's writers.
LOCK_POLL_INTERVAL = 0.0005


class WriteLock:
    """A fair lock between threads and processes: whoever comes first writes first.

    Waiting happens at the turnstile (the first lock), so the one who just wrote queues up
    behind everybody who waited meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self._turnstile = path.with_name(path.name + ".turnstile")
        self._writer = path.with_name(path.name + ".writer")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock inside the block."""
        writer = _open_lock_file(self._writer)
        try:
            turnstile = _open_lock_file(self._turnstile)
            try:
                until = time.monotonic() + SQLITE_BUSY_SECONDS
                _acquire(turnstile, until)
                _acquire(writer, until)
            finally:
                os.close(turnstile)
            yield
        finally:
            os.close(writer)


def _open_lock_file(path: Path) -> int:
    """A file to lock; where it cannot be had, neither can the database beside it."""
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RecordsUnavailable(str(error)) from error


def _acquire(file: int, until: float) -> None:
    """Lock a file; raises RecordsUnavailable where another process holds it too long.

    Asked for again and again, because waiting for a file lock has no time-out.
    """
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until:
                message = "another process holds the database"
                raise RecordsUnavailable(message) from error
            time.sleep(LOCK_POLL_INTERVAL)
        else:
            return


class ThreadLock:
    """The same for a database in memory, which only this process sees."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock inside the block."""
        with self._lock:
            yield


class NoLock:
    """PostgreSQL locks rows by itself."""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing to hold."""
        yield


def write_lock_for(engine: Engine) -> WriteLock | ThreadLock | NoLock:
    """The lock that writers of the engine's database have to hold."""
    if engine.dialect.name != "sqlite":
        return NoLock()
    database = engine.url.database
    if database in {None, "", ":memory:"}:
        return ThreadLock()
    return WriteLock(Path(str(database)))
