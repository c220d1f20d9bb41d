"""Engines and sessions: the one way in and out of the database.

``Sessions.begin()`` is the only thing that commits. On SQLite every write transaction
passes a fair lock between processes first (two file locks as a turnstile): without it a
busy worker starves the gateway's commits.
"""

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from enrollment.domain.errors import Conflict, RecordsUnavailable, TookTooLong

#: Milliseconds that one statement may take on PostgreSQL.
STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_MS = 30_000
#: Seconds that SQLite waits for another process's lock.
SQLITE_BUSY_SECONDS = 10.0
#: Seconds between two questions for the lock of SQLite's writers.
LOCK_ASKED_EVERY = 0.0005
#: Serialization failure, deadlock, lock not available: the same work may go through next time.
_CANCELLED = "57014"
#: A standby that took over is not yet one that writes.
_READ_ONLY = "25006"
_TRANSIENT_STATES = frozenset({"40001", "40P01", "55P03"})


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


def make_engine(url: str, *, pool_size: int = 5, pool_timeout: float = 2.0) -> Engine:
    """An engine for PostgreSQL (psycopg 3) or SQLite; connects only when first used."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed, pool_size, pool_timeout)
    return create_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={
            "connect_timeout": 3,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
            "application_name": "enroll",
            "options": (
                f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS}"
                f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS}"
                " -c timezone=UTC -c jit=off"
                # Keys are looked up by the thousand: on today's disks never by reading all.
                " -c random_page_cost=1.1"
            ),
        },
    )


def _sqlite_engine(url: URL, pool_size: int, pool_timeout: float) -> Engine:
    args = {"check_same_thread": False, "timeout": SQLITE_BUSY_SECONDS}
    if url.database in {None, "", ":memory:"}:
        engine = create_engine(url, poolclass=StaticPool, connect_args=args)
    else:
        engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout,
            connect_args=args,
        )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Durable commits through the rollback journal; transactions begin where we say so."""
    connection.isolation_level = None
    for pragma in ("journal_mode=TRUNCATE", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Any) -> None:
    how = "IMMEDIATE" if connection.get_execution_options().get("writes") else "DEFERRED"
    connection.exec_driver_sql(f"BEGIN {how}")


class Sessions:
    """Where sessions come from. Safe to share between threads, not between processes."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._lock = _write_lock(engine)
        self._writer = engine.execution_options(writes=True)

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A transaction that commits at the end of the block, or does nothing at all.

        Raises Conflict where the same work may go through when done again, and
        RecordsUnavailable where the database does not answer (then an error at the commit
        leaves open whether it took place).
        """
        with translated(), self._lock.held(), Session(self._writer) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads.

        Raises RecordsUnavailable where the database does not answer.
        """
        with translated(), Session(self.engine) as session:
            yield session

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


@contextmanager
def translated() -> Iterator[None]:
    """Vendor errors become ours at the edge."""
    try:
        yield
    except PoolTimeout as error:
        raise RecordsUnavailable(str(error)) from error
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        if state in _TRANSIENT_STATES:
            raise Conflict(str(error.orig)) from error
        if state == _CANCELLED:
            raise TookTooLong(str(error.orig)) from error
        if _is_away(error):
            raise RecordsUnavailable(str(error.orig)) from error
        raise


def _is_away(error: DBAPIError) -> bool:
    """Whether the database did not do its part, rather than was asked nonsense."""
    if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
        return False
    if getattr(error.orig, "sqlstate", None) == _READ_ONLY:
        return True
    return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated


def is_postgresql(session: Session) -> bool:
    """Whether the session talks to PostgreSQL (else SQLite)."""
    return session.get_bind().dialect.name == "postgresql"


_CLOCK = select(func.clock_timestamp())


def clock(session: Session) -> datetime:
    """The moment on the database's clock; SQLite's is that of this machine."""
    if is_postgresql(session):
        now: datetime = session.scalars(_CLOCK).one()
        return now.astimezone(UTC)
    return datetime.now(UTC)


def sessions_for(url: str, *, pool_size: int = 5) -> Sessions:
    """Sessions of the database at a URL."""
    return Sessions(make_engine(url, pool_size=pool_size))
