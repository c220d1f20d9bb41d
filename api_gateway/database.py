"""Runs storage functions in a small, bounded thread pool.

A pool thread cannot be cancelled, so every statement has a timeout, the queue of the pool is
bounded, and callers wait for a limited time: a database that hangs blocks threads, but no
caller.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy.orm import Session

from enrollment.domain.errors import (
    Conflict,
    DatabaseUnavailable,
    ListTooSlow,
    Overloaded,
    StatementTimeout,
)
from enrollment.storage.engine.sessions import Sessions

P = ParamSpec("P")
T = TypeVar("T")

#: Maximum number of calls in the pool, running or queued; more are rejected.
MAX_QUEUED_CALLS = 1_000
#: Maximum attempts of a write that conflicts with another transaction.
MAX_WRITE_ATTEMPTS = 4
#: Seconds after which a conflict is not retried: each attempt may wait for a lock.
WRITE_RETRY_SECONDS = 4.0
#: Seconds that a caller waits; more than the timeout of a statement.
CALL_TIMEOUT_SECONDS = 12.0
#: Seconds that a list may take; the pages of all lists take milliseconds.
LIST_SECONDS = 2.0
#: Seconds that the caller of a list waits, also for the lists before it.
LIST_WAIT_SECONDS = 10.0


class Database:
    """Runs functions that take a session, each in its own transaction."""

    def __init__(self, sessions: Sessions, *, threads: int = 4) -> None:
        self.sessions = sessions
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="database")
        self._queued = 0

    async def read(
        self, query: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Runs a query and returns its result. Raises DatabaseUnavailable, Overloaded."""

        def work() -> T:
            with self.sessions.read() as session:
                return query(session, *args, **kwargs)

        return await self.run(work)

    async def write(
        self, command: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Runs a command in a transaction that commits. Raises DatabaseUnavailable, Overloaded."""

        def transaction() -> T:
            with self.sessions.begin() as session:
                return command(session, *args, **kwargs)

        return await self.run(lambda: retry_on_conflict(transaction))

    async def run(self, work: Callable[[], T]) -> T:
        """Runs blocking work in the pool.

        Raises Overloaded if too many calls are queued, and DatabaseUnavailable after a timeout;
        the work may then still be done.
        """
        if self._queued >= MAX_QUEUED_CALLS:
            message = "too many requests wait for the database"
            raise Overloaded(message)
        self._queued += 1
        try:
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except TimeoutError as error:
            message = "the database did not answer in time"
            raise DatabaseUnavailable(message) from error
        finally:
            self._queued -= 1

    def close(self) -> None:
        """Waits for running work, then closes every connection."""
        self._pool.shutdown(wait=True)
        self.sessions.dispose()


class ListReader(Database):
    """Reads lists, in few threads of their own: nothing but lists waits for lists.

    A list that takes longer than `LIST_SECONDS` is given up.
    """

    async def read(
        self, query: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Runs a query and returns its result.

        Raises ListTooSlow if it, or the lists before it, take too long; DatabaseUnavailable.
        """

        def work() -> T:
            with self.sessions.read(seconds=LIST_SECONDS) as session:
                return query(session, *args, **kwargs)

        try:
            async with asyncio.timeout(LIST_WAIT_SECONDS):
                return await self.run(work)
        except (StatementTimeout, TimeoutError, Overloaded) as error:
            raise ListTooSlow(str(error)) from error


def retry_on_conflict(transaction: Callable[[], T]) -> T:
    """Runs a transaction, and retries it if it conflicts with another one.

    Raises DatabaseUnavailable after `MAX_WRITE_ATTEMPTS` or `WRITE_RETRY_SECONDS`.
    """
    deadline = time.monotonic() + WRITE_RETRY_SECONDS
    for _ in range(MAX_WRITE_ATTEMPTS - 1):
        try:
            return transaction()
        except Conflict as error:
            _check_deadline(deadline, error)
    try:
        return transaction()
    except Conflict as error:
        raise DatabaseUnavailable(str(error)) from error


def _check_deadline(deadline: float, conflict: Conflict) -> None:
    """Raises DatabaseUnavailable after the deadline."""
    if time.monotonic() > deadline:
        raise DatabaseUnavailable(str(conflict)) from conflict
