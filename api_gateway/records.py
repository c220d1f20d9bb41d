"""The gateway's way to the records: storage functions, run in a small bounded thread pool.

A pool thread cannot be cancelled, so every statement has a time-out and the queue before
the pool a bound; beyond it the answer is Overloaded, never a wait without end.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy.orm import Session

from enrollment.domain.errors import Conflict, Overloaded, RecordsUnavailable
from enrollment.storage.sessions import Sessions

P = ParamSpec("P")
T = TypeVar("T")

#: How many calls may wait for a thread before more are turned away.
MAX_WAITING = 1_000
#: How often a write that met somebody else's is done again.
TRIES = 4


class Records:
    """Runs functions of a session, each in a transaction of its own."""

    def __init__(self, sessions: Sessions, *, threads: int = 4) -> None:
        self.sessions = sessions
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="records")
        self._waiting = 0

    async def read(
        self, query: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a query and give its answer. Raises RecordsUnavailable, Overloaded."""

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

        def work() -> T:
            for _ in range(TRIES - 1):
                try:
                    return once()
                except Conflict:
                    continue
            try:
                return once()
            except Conflict as error:
                raise RecordsUnavailable(str(error)) from error

        return await self.run(work)

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work in the pool."""
        if self._waiting >= MAX_WAITING:
            message = "too many requests wait for the database"
            raise Overloaded(message)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let running work end, then close every connection."""
        self._pool.shutdown(wait=True)
        self.sessions.dispose()
