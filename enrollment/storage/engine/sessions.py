"""Sessions: transactions on the database.

Invariant: only `Sessions.begin()` commits. On SQLite every write transaction holds a fair lock
between processes (`write_lock`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from sqlalchemy import Engine, bindparam, func, select, true
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from enrollment.domain.errors import DatabaseUnavailable, StatementTimeout
from enrollment.storage.engine.attempt_locks import attempt_locks_for
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.engines import (
    LOCK_TIMEOUT_MS,
    SERVER_TIMEOUT_SECONDS,
    limit_transaction_time,
    make_engine,
)
from enrollment.storage.engine.error_mapping import translate_errors
from enrollment.storage.engine.outage_log import OutageLog
from enrollment.storage.engine.write_lock import write_lock_for


def _system_now() -> datetime:
    return datetime.now(UTC)


_AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}
#: Key in a session's `info`: the clock that is used on SQLite.
_NOW = "now"


class Sessions:
    """Factory of sessions. Safe to share between threads, not between processes.

    `now` is the clock where the database has none (SQLite).
    """

    def __init__(self, engine: Engine, *, now: Callable[[], datetime] | None = None) -> None:
        self.engine = engine
        self._lock = write_lock_for(engine)
        self.attempt_locks = attempt_locks_for(engine)
        self._writer = engine.execution_options(writes=True)
        is_sqlite = engine.dialect.name == "sqlite"
        self._single = engine if is_sqlite else engine.execution_options(**_AUTOCOMMIT)
        self._info = {_NOW: now or _system_now}
        self._outage = OutageLog()
        #: Whether a write failed; the health check resets it when a probe write succeeds.
        self.was_refused = False

    @contextmanager
    def begin(self, *, seconds: float | None = None) -> Iterator[Session]:
        """Yields a write transaction; commits at the end of the block, rolls back on an error.

        On PostgreSQL no statement is waited for when `seconds` have passed since the start. Raises
        StatementTimeout then, Conflict if a retry may succeed, and DatabaseUnavailable if the
        database does not respond (at the commit it is then unknown whether it committed).
        """
        opened = self._open_session(self._writer)
        with (
            self._record_result(is_write=True),
            translate_errors(),
            self._lock.held(),
            opened as session,
            session.begin(),
        ):
            if seconds is not None:
                limit_transaction_time(session.connection(), seconds)
            try:
                yield session
            except BaseException:
                with suppress(DBAPIError):  # it must not replace the error of the block
                    session.rollback()
                raise

    @contextmanager
    def _record_result(self, *, is_write: bool) -> Iterator[None]:
        try:
            yield
        except DatabaseUnavailable as error:
            self._outage.record_failure(error)
            self.was_refused |= is_write and not isinstance(error, StatementTimeout)
            raise
        self._outage.record_success()

    @contextmanager
    def read(self, *, seconds: float | None = None) -> Iterator[Session]:
        """Yields a read-only transaction.

        On PostgreSQL no statement is waited for when `seconds` have passed since the start. Raises
        StatementTimeout then, and DatabaseUnavailable if the database does not respond.
        """
        with (
            self._record_result(is_write=False),
            translate_errors(),
            self._open_session(self.engine) as session,
        ):
            if seconds is not None:
                limit_transaction_time(session.connection(), seconds)
            yield session

    @contextmanager
    def read_statements(self) -> Iterator[Session]:
        """Yields a session for reading, in which each statement has a snapshot of its own.

        On PostgreSQL it saves the round trips of BEGIN and ROLLBACK; on SQLite it is a transaction.
        Raises StatementTimeout, DatabaseUnavailable.
        """
        opened = self._open_session(self._single)
        with self._record_result(is_write=False), translate_errors(), opened as session:
            yield session

    def _open_session(self, bind: Engine) -> Session:
        return Session(bind, info=self._info)

    def dispose(self) -> None:
        """Closes all connections."""
        self.engine.dispose()


@contextmanager
def lock_timeout(session: Session, limit: str) -> Iterator[None]:
    """Sets the lock timeout inside the block (PostgreSQL); `limit` has a unit, as in "200ms"."""
    if not is_postgresql(session):
        yield
        return
    session.execute(_SET_LOCK_TIMEOUT, {"limit": limit})
    yield
    session.execute(_SET_LOCK_TIMEOUT, {"limit": f"{LOCK_TIMEOUT_MS}ms"})


_SET_LOCK_TIMEOUT = select(func.set_config("lock_timeout", bindparam("limit"), true()))

_CLOCK_TIMESTAMP = select(func.clock_timestamp())


def database_now(session: Session) -> datetime:
    """Returns the time of the database's clock; for SQLite, of the clock of `Sessions`."""
    now: datetime
    if is_postgresql(session):
        now = session.scalars(_CLOCK_TIMESTAMP).one()
        return now.astimezone(UTC)
    now = session.info.get(_NOW, _system_now)()
    return now


def sessions_for(
    url: str,
    *,
    pool_size: int = 5,
    server_timeout: float | None = SERVER_TIMEOUT_SECONDS,
    transaction_timeout_ms: int | None = None,
) -> Sessions:
    """Returns sessions of the database at a URL; `make_engine` explains the parameters."""
    return Sessions(
        make_engine(
            url,
            pool_size=pool_size,
            server_timeout=server_timeout,
            transaction_timeout_ms=transaction_timeout_ms,
        )
    )
