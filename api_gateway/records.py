"""The gateway's way to the records: storage functions, run in a small bounded thread pool.

A pool thread cannot be cancelled, so every statement has a time-out, the queue before the
pool a bound, and whoever asks a limit to their patience: a server that is there and says
nothing keeps a thread, never a caller.
"""

import asyncio
import time
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
#: Seconds after which it is not done again: each try may wait for a lock.
TRY_SECONDS = 4.0
#: Seconds that an answer of the database is waited for; longer than a statement may take.
PATIENCE = 12.0


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

        return await self.run(lambda: done_again(once))

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work in the pool.

        Raises RecordsUnavailable where it does not end in time; then it may still be done.
        """
        if self._waiting >= MAX_WAITING:
            message = "too many requests wait for the database"
            raise Overloaded(message)
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except TimeoutError as error:
            message = "the database did not answer in time"
            raise RecordsUnavailable(message) from error
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let running work end, then close every connection."""
        self._pool.shutdown(wait=True)
        self.sessions.dispose()


def done_again(once: Callable[[], T]) -> T:
    """Do what may meet somebody else's, a few times and not for long.

    Raises RecordsUnavailable where it met them each time.
    """
    until = time.monotonic() + TRY_SECONDS
    for _ in range(TRIES - 1):
        try:
            return once()
        except Conflict as error:
            if time.monotonic() > until:
                raise RecordsUnavailable(str(error)) from error
    try:
        return once()
    except Conflict as error:
        raise RecordsUnavailable(str(error)) from error
