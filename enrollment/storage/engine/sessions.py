"""Sessions: the one way in and out of the database.

``Sessions.begin()`` is the only thing that commits. On SQLite every write transaction
passes a fair lock between processes first (two file locks as a turnstile): without it a
busy worker starves the gateway's commits.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, bindparam, func, select, true
from sqlalchemy.orm import Session

from enrollment.domain.errors import RecordsUnavailable, TookTooLong
from enrollment.storage.engine.attempt_locks import attempt_locks_for
from enrollment.storage.engine.engines import (
    LOCK_TIMEOUT_MS,
    SILENCE_SECONDS,
    SQLITE_BUSY_SECONDS,
    limit_time,
    make_engine,
)
from enrollment.storage.engine.error_mapping import translated

__all__ = [
    "NoLock",
    "Sessions",
    "ThreadLock",
    "WriteLock",
    "clock",
    "is_postgresql",
    "make_engine",
    "sessions_for",
    "translated",
]

#: Seconds between two questions for the lock of SQLite's writers.
LOCK_ASKED_EVERY = 0.0005


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
        writer = _opened(self._writer)
        try:
            turnstile = _opened(self._turnstile)
            try:
                until = time.monotonic() + SQLITE_BUSY_SECONDS
                _take(turnstile, until)
                _take(writer, until)
            finally:
                os.close(turnstile)
            yield
        finally:
            os.close(writer)


def _opened(path: Path) -> int:
    """A file to lock; where it cannot be had, neither can the database beside it."""
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RecordsUnavailable(str(error)) from error


def _take(file: int, until: float) -> None:
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
            time.sleep(LOCK_ASKED_EVERY)
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


def _machine_time() -> datetime:
    return datetime.now(UTC)


#: Where a session keeps the clock that stands in for SQLite's.
_NOW = "now"


class Sessions:
    """Where sessions come from. Safe to share between threads, not between processes.

    ``now`` tells the time where the database has no clock of its own (SQLite).
    """

    def __init__(self, engine: Engine, *, now: Callable[[], datetime] | None = None) -> None:
        self.engine = engine
        self._lock = _write_lock(engine)
        self.attempt_locks = attempt_locks_for(engine)
        self._writer = engine.execution_options(writes=True)
        self._info = {_NOW: now or _machine_time}
        #: Whether the database did not take a write; who finds that it does again says so here.
        self.was_refused = False

    @contextmanager
    def begin(self, *, seconds: float | None = None) -> Iterator[Session]:
        """A transaction that commits at the end of the block, or does nothing at all.

        With `seconds`, PostgreSQL's statements together may take no longer from now on (SQLite
        has no such limit). Raises TookTooLong beyond that, Conflict where the same work may go
        through when done again, and RecordsUnavailable where the database does not answer (then
        an error at the commit leaves open whether it took place).
        """
        opened = self._opened(self._writer)
        with self._noted(), translated(), self._lock.held(), opened as session, session.begin():
            if seconds is not None:
                limit_time(session.connection(), seconds)
            yield session

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except TookTooLong:
            raise
        except RecordsUnavailable:
            self.was_refused = True
            raise

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads.

        Raises RecordsUnavailable where the database does not answer.
        """
        with translated(), self._opened(self.engine) as session:
            yield session

    def _opened(self, bind: Engine) -> Session:
        return Session(bind, info=self._info)

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _write_lock(engine: Engine) -> WriteLock | ThreadLock | NoLock:
    if engine.dialect.name != "sqlite":
        return NoLock()
    database = engine.url.database
    if database in {None, "", ":memory:"}:
        return ThreadLock()
    return WriteLock(Path(str(database)))


def is_postgresql(session: Session) -> bool:
    """Whether the session talks to PostgreSQL (else SQLite)."""
    return session.get_bind().dialect.name == "postgresql"


@contextmanager
def lock_timeout(session: Session, limit: str) -> Iterator[None]:
    """Waits no longer than `limit` for a row lock inside the block (PostgreSQL)."""
    if not is_postgresql(session):
        yield
        return
    session.execute(_SET_LOCK_TIMEOUT, {"limit": limit})
    yield
    session.execute(_SET_LOCK_TIMEOUT, {"limit": f"{LOCK_TIMEOUT_MS}ms"})


_SET_LOCK_TIMEOUT = select(func.set_config("lock_timeout", bindparam("limit"), true()))

_CLOCK = select(func.clock_timestamp())


def clock(session: Session) -> datetime:
    """The moment on the database's clock; SQLite has none and takes that of its sessions."""
    now: datetime
    if is_postgresql(session):
        now = session.scalars(_CLOCK).one()
        return now.astimezone(UTC)
    now = session.info.get(_NOW, _machine_time)()
    return now


def sessions_for(
    url: str, *, pool_size: int = 5, silence: float | None = SILENCE_SECONDS
) -> Sessions:
    """Sessions of the database at a URL, which may say nothing for so many seconds at most."""
    return Sessions(make_engine(url, pool_size=pool_size, silence=silence))
