"""Sessions: transactions on the database.

``Sessions.begin()`` is the only thing that commits. On SQLite every write transaction
holds a fair lock between processes (``write_lock``).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine, bindparam, func, select, true
from sqlalchemy.orm import Session

from enrollment.domain.errors import RecordsUnavailable, TookTooLong
from enrollment.storage.engine.attempt_locks import attempt_locks_for
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.engines import (
    LOCK_TIMEOUT_MS,
    SERVER_TIMEOUT_SECONDS,
    limit_transaction_time,
    make_engine,
)
from enrollment.storage.engine.error_mapping import translate_errors
from enrollment.storage.engine.write_lock import write_lock_for


def _system_now() -> datetime:
    return datetime.now(UTC)


#: Where a session keeps the clock that stands in for SQLite's.
_NOW = "now"


class Sessions:
    """Where sessions come from. Safe to share between threads, not between processes.

    ``now`` tells the time where the database has no clock of its own (SQLite).
    """

    def __init__(self, engine: Engine, *, now: Callable[[], datetime] | None = None) -> None:
        self.engine = engine
        self._lock = write_lock_for(engine)
        self.attempt_locks = attempt_locks_for(engine)
        self._writer = engine.execution_options(writes=True)
        self._info = {_NOW: now or _system_now}
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
        opened = self._open_session(self._writer)
        with (
            self._record_refusals(),
            translate_errors(),
            self._lock.held(),
            opened as session,
            session.begin(),
        ):
            if seconds is not None:
                limit_transaction_time(session.connection(), seconds)
            yield session

    @contextmanager
    def _record_refusals(self) -> Iterator[None]:
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
        with translate_errors(), self._open_session(self.engine) as session:
            yield session

    def _open_session(self, bind: Engine) -> Session:
        return Session(bind, info=self._info)

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()


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


def database_now(session: Session) -> datetime:
    """The moment on the database's clock; SQLite has none and takes that of its sessions."""
    now: datetime
    if is_postgresql(session):
        now = session.scalars(_CLOCK).one()
        return now.astimezone(UTC)
    now = session.info.get(_NOW, _system_now)()
    return now


def sessions_for(
    url: str, *, pool_size: int = 5, server_timeout: float | None = SERVER_TIMEOUT_SECONDS
) -> Sessions:
    """Sessions of the database at a URL, which may say nothing for so many seconds at most."""
    return Sessions(make_engine(url, pool_size=pool_size, server_timeout=server_timeout))
