"""A fair write lock between processes and threads, for SQLite: first come, first served.

Each writer takes a ticket and waits for all earlier ones; without it a busy worker starves the
gateway's commits. The kernel releases the locks of a process that dies.
"""

import fcntl
import os
import struct
import sys
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
#: `struct flock`: the members and their order are the platform's.
_FLOCK = struct.Struct("qqihh" if sys.platform == "darwin" else "hhqqi")
#: The next ticket, at the beginning of the file of tickets.
_TICKET = struct.Struct("<q")
#: The byte whose lock guards the counter; tickets begin behind it.
_COUNTER = 0


class WriteLock:
    """A fair lock between threads and processes.

    A ticket is the number of a byte, and is held by a lock on that byte of the file of tickets
    (open file description locks, so threads exclude each other too). A writer that holds locks
    on all bytes up to its own ticket is the oldest one alive.
    """

    def __init__(self, path: Path) -> None:
        self._tickets = path.with_name(path.name + ".tickets")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the lock inside the block. Raises DatabaseUnavailable after a timeout."""
        file = _open(self._tickets)
        try:
            _wait_for_turn(file)
            yield
        finally:
            os.close(file)


def _open(path: Path) -> int:
    """Opens a lock file. Raises DatabaseUnavailable, as the database beside it is out of reach."""
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DatabaseUnavailable(str(error)) from error


def _wait_for_turn(file: int) -> None:
    deadline = time.monotonic() + SQLITE_BUSY_SECONDS
    try:
        ticket = _take_ticket(file, deadline)
        _acquire(file, _COUNTER + 1, ticket - _COUNTER, deadline)
    except OSError as error:
        raise DatabaseUnavailable(str(error)) from error


def _take_ticket(file: int, deadline: float) -> int:
    """Returns the next ticket, and holds the lock on its byte."""
    _acquire(file, _COUNTER, 1, deadline)
    stored = os.pread(file, _TICKET.size, 0)
    ticket = _TICKET.unpack(stored)[0] + 1 if len(stored) == _TICKET.size else _COUNTER + 1
    _lock(file, fcntl.F_WRLCK, ticket, 1)
    os.pwrite(file, _TICKET.pack(ticket), 0)
    _lock(file, fcntl.F_UNLCK, _COUNTER, 1)
    return ticket


def _acquire(file: int, start: int, length: int, deadline: float) -> None:
    """Locks a range of bytes. Raises DatabaseUnavailable if others hold a part at the deadline.

    Polls, because a blocking lock has no timeout.
    """
    while True:
        try:
            _lock(file, fcntl.F_WRLCK, start, length)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                message = "the database is locked by another process"
                raise DatabaseUnavailable(message) from error
            time.sleep(LOCK_POLL_INTERVAL)
        else:
            return


def _lock(file: int, kind: int, start: int, length: int) -> None:
    whole = (kind, os.SEEK_SET, start, length, 0)
    fields = (start, length, 0, kind, os.SEEK_SET) if sys.platform == "darwin" else whole
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(*fields))


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
