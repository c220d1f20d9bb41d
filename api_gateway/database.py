"""Runs storage functions in a small, bounded thread pool.

A pool thread cannot be cancelled, so every statement has a timeout, the queue before the pool
is bounded, and callers wait for a limited time: a database that hangs keeps threads busy, but
never a caller.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy.orm import Session

from enrollment.domain.errors import Conflict, Overloaded, RecordsUnavailable
from enrollment.storage.engine.sessions import Sessions

P = ParamSpec("P")
T = TypeVar("T")

#: Calls that may wait for a thread before more are rejected.
MAX_WAITING = 1_000
#: Attempts at a write that conflicts with another transaction.
MAX_ATTEMPTS = 4
#: Seconds after which there is no further attempt: each may wait for a lock.
RETRY_SECONDS = 4.0
#: Seconds that a caller waits; longer than a statement may take.
TIMEOUT_SECONDS = 12.0


class Database:
    """Runs functions that take a session, each in a transaction of its own."""

    def __init__(self, sessions: Sessions, *, threads: int = 4) -> None:
        self.sessions = sessions
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="database")
        self._waiting = 0

    async def read(
        self, query: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a query and return its result. Raises RecordsUnavailable, Overloaded."""

        def work() -> T:
            with self.sessions.read() as session:
                return query(session, *args, **kwargs)

        return await self.run(work)

    async def write(
        self, command: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a command in a transaction that commits. Raises RecordsUnavailable, Overloaded."""

        def once() -> T:
            with self.sessions.begin() as session:
                return command(session, *args, **kwargs)

        return await self.run(lambda: retry_on_conflict(once))

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work in the pool.

        Raises Overloaded if too many calls wait, and RecordsUnavailable after a timeout; the
        work may then still be done.
        """
        if self._waiting >= MAX_WAITING:
            message = "too many requests wait for the database"
            raise Overloaded(message)
        self._waiting += 1
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except TimeoutError as error:
            message = "the database did not answer in time"
            raise RecordsUnavailable(message) from error
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Wait for running work, then close every connection."""
        self._pool.shutdown(wait=True)
        self.sessions.dispose()


def retry_on_conflict(once: Callable[[], T]) -> T:
    """Run a transaction, again if it conflicts with another, a few times and not for long.

    Raises RecordsUnavailable if every attempt conflicts.
    """
    until = time.monotonic() + RETRY_SECONDS
    for _ in range(MAX_ATTEMPTS - 1):
        try:
            return once()
        except Conflict as error:
            if time.monotonic() > until:
                raise RecordsUnavailable(str(error)) from error
    try:
        return once()
    except Conflict as error:
        raise RecordsUnavailable(str(error)) from error
