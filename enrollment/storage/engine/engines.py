"""Engines for PostgreSQL and SQLite: connection settings, timeouts, and checks of connections."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import StaticPool

from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage.engine.error_mapping import invalidate_stale
from enrollment.storage.engine.pg_binary_arrays import adapt
from enrollment.storage.engine.pooler import is_pooled, server_session
from enrollment.storage.engine.sqlite_files import create_private_file, refuse_replaced_file

#: Limits of PostgreSQL's server, in milliseconds.
STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_MS = 15_000
#: End of a transaction whose client is stopped but still answers at TCP level (PostgreSQL 17).
TRANSACTION_TIMEOUT_MS = 60_000
_HAS_TRANSACTION_TIMEOUT = 17_00_00
#: The server's own keepalive, in seconds, and its limit for unacknowledged data. A client whose
#: host vanished may have sent a part of a message: the server then waits for the rest without any
#: of its time limits, and only TCP detects it. The system's default is two hours.
_SERVER_KEEPALIVE = {
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}
#: Seconds without any response after which a connection is closed; above the statement timeout.
SERVER_TIMEOUT_SECONDS = 11.0
#: Seconds for the request to cancel a statement.
CANCEL_SECONDS = 2.0
#: Most connections of a worker: its transaction, that of its attempt locks, and its heartbeat.
WORKER_CONNECTIONS = 3
#: Seconds that SQLite waits for another process's lock.
SQLITE_BUSY_SECONDS = 10.0


def make_engine(
    url: str,
    *,
    pool_size: int = 5,
    pool_timeout: float = 2.0,
    server_timeout: float | None = SERVER_TIMEOUT_SECONDS,
    transaction_timeout_ms: int | None = None,
) -> Engine:
    """Returns an engine for PostgreSQL (psycopg 3) or SQLite; it connects when first used.

    A connection is closed if its server does not respond for `server_timeout` seconds; None: never.
    The server ends transactions after `transaction_timeout_ms` (PostgreSQL 17 and newer).
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = _sqlite_engine(parsed, pool_size, pool_timeout)
    else:
        engine = _postgresql_engine(parsed, pool_size, pool_timeout)
        event.listen(
            engine, "do_connect", _connect_with_timeout(server_timeout, transaction_timeout_ms)
        )
        event.listen(engine, "checkin", _clear_deadline)
    event.listen(engine, "handle_error", invalidate_stale)
    event.listen(engine, "commit", _refuse_commit_without_transaction)
    event.listen(engine, "before_cursor_execute", _refuse_while_in_flight)
    return engine


def _postgresql_engine(url: URL, pool_size: int, pool_timeout: float) -> Engine:
    return create_engine(
        url,
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
                # Makes the planner prefer index scans for thousands of keys, as suits SSDs.
                " -c random_page_cost=1.1"
                + "".join(f" -c {name}={value}" for name, value in _SERVER_KEEPALIVE.items())
            ),
        },
    )


class _TimeoutConnection(psycopg.Connection[Any]):
    """A connection with time limits of its own, in case the server does not enforce its limits.

    If a wait ends early the statement is cancelled and the connection closed: its locks are
    released, and a late response is not read as that of another statement.
    """

    #: Seconds to wait for a response of the server; None: no limit.
    server_timeout: float | None = None
    #: End of the transaction, on the monotonic clock; None: no limit.
    deadline: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Waits for the server.

        Raises QueryCanceled past the deadline, or when an exception of a signal handler interrupts
        the wait, and OperationalError after `server_timeout`.
        """
        limit = self.server_timeout if timeout is None else timeout
        if self.deadline is not None:
            left = max(self.deadline - time.monotonic(), 0.0)
            limit = left if limit is None else min(left, limit)
        try:
            return super().wait(gen, interval, limit)
        except BaseException as error:
            is_response = isinstance(error, psycopg.Error) and not _is_operational(error)
            if is_response or self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            is_overdue = self.deadline is not None and time.monotonic() >= self.deadline
            self._abandon()
            if _is_operational(error) and not is_overdue:
                raise  # the server did not respond in time
            if not isinstance(error, Exception):
                raise  # this process is being terminated
            message = "the transaction exceeded its time limit"
            raise psycopg.errors.QueryCanceled(message) from error

    def _abandon(self) -> None:
        self.deadline = None
        try:
            with suppress(psycopg.Error):  # a server that crashed has nothing to cancel
                self.cancel_safe(timeout=CANCEL_SECONDS)
        finally:
            self.pgconn.finish()


def _is_operational(error: BaseException) -> bool:
    return isinstance(error, psycopg.OperationalError)


def limit_transaction_time(connection: Connection, seconds: float) -> None:
    """Sets the deadline of the connection's transaction, `seconds` from now (PostgreSQL)."""
    driver: Any = connection.connection.driver_connection
    if isinstance(driver, _TimeoutConnection):
        driver.deadline = time.monotonic() + seconds


def _clear_deadline(driver: Any, _record: object) -> None:
    if driver is not None:
        driver.deadline = None


def _connect_with_timeout(
    server_timeout: float | None, transaction_timeout_ms: int | None
) -> Callable[..., psycopg.Connection[Any]]:
    def connect(_dialect: object, _record: object, args: Any, options: Any) -> Any:
        connection = _TimeoutConnection.connect(*args, **options)
        connection.server_timeout = server_timeout
        is_recent = connection.info.server_version >= _HAS_TRANSACTION_TIMEOUT
        if is_recent and transaction_timeout_ms is not None:
            _limit_transactions(connection, transaction_timeout_ms)
        adapt(connection)
        return connection

    return connect


def _limit_transactions(connection: psycopg.Connection[Any], milliseconds: int) -> None:
    """Sets PostgreSQL's limit for the session, unless a connection pooler shares the session.

    There it would end long transactions of others, such as a migration or an audit.
    """
    if not is_pooled(connection, server_session(connection)):
        connection.execute(f"SET transaction_timeout = {int(milliseconds)}")
    connection.commit()


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
        event.listen(engine, "do_connect", create_private_file(url))
        event.listen(engine, "checkout", refuse_replaced_file(str(url.database)))
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "close", _rollback_on_close)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    """Sets up durable commits by the rollback journal; `BEGIN` is sent by `_begin_sqlite` only."""
    connection.isolation_level = None
    try:
        _leave_wal(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()
    except sqlite3.Error:
        connection.close()
        raise


def _leave_wal(connection: Any) -> None:
    """Switches to the rollback journal, unless another process has the file open in WAL mode."""
    try:
        connection.execute("PRAGMA journal_mode=TRUNCATE").close()
    except sqlite3.OperationalError:
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            raise


def _rollback_on_close(connection: Any, _record: object) -> None:
    """Rolls back before a connection is closed.

    Otherwise a cursor that is kept alive by a traceback would keep SQLite's lock.
    """
    with suppress(sqlite3.Error):
        connection.rollback()


def _begin_sqlite(connection: Any) -> None:
    mode = "IMMEDIATE" if connection.get_execution_options().get("writes") else "DEFERRED"
    connection.exec_driver_sql(f"BEGIN {mode}")


def _refuse_commit_without_transaction(connection: Connection) -> None:
    """Raises DatabaseUnavailable at the commit of a transaction that the database rolled back.

    Otherwise the commit would seem to succeed: PostgreSQL executes a ROLLBACK instead, and the
    driver of SQLite sends no COMMIT.
    """
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        is_lost = not driver.in_transaction
    else:
        is_lost = driver.info.transaction_status == TransactionStatus.INERROR
    if is_lost:
        message = "the transaction was rolled back by the database"
        raise DatabaseUnavailable(message)


#: Key in a connection's `info`: whether pipelined statements are in flight.
_IN_FLIGHT = "in_flight"


@contextmanager
def forbid_statements(connection: Connection) -> Iterator[None]:
    """Makes statements on the connection raise RuntimeError inside the block."""
    connection.info[_IN_FLIGHT] = True
    try:
        yield
    finally:
        connection.info[_IN_FLIGHT] = False


def _refuse_while_in_flight(connection: Connection, *_: object) -> None:
    if connection.info.get(_IN_FLIGHT):
        message = "a statement was executed while others are in flight"
        raise RuntimeError(message)
