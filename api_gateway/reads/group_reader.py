"""Group reads: one query for many concurrent reads.

Those that arrive while a query runs are answered together by the next one. So an answer is never
older than its question, and a read that is alone does not wait for others.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import structlog
from sqlalchemy.orm import Session

from api_gateway.database import Database
from enrollment.domain.errors import EnrollmentError, Overloaded

log = structlog.get_logger()

#: Maximum number of reads that one query answers.
MAX_GROUP_READS = 500
#: Maximum number of reads that wait for their query; more are rejected.
MAX_PENDING_READS = 10_000
#: If a query fails after more than these seconds, all waiting reads fail with it.
MAX_READ_FAILURE_SECONDS = 3.0

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Pending(NamedTuple, Generic[Key, Value]):
    key: Key
    future: asyncio.Future[Value]


class GroupReader(Generic[Key, Value]):
    """Answers concurrent reads of one kind in groups. One per event loop."""

    def __init__(
        self,
        database: Database,
        find: Callable[[Session, Sequence[Key]], Sequence[Value]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`find` returns a value for each key, in a thread; its statements commit by themselves."""
        self._database = database
        self._find = find
        self._monotonic = monotonic
        self._pending: list[_Pending[Key, Value]] = []
        self._reading: asyncio.Task[None] | None = None

    async def read(self, key: Key) -> Value:
        """Returns the value of a key, read after this was called.

        Raises Overloaded, DatabaseUnavailable.
        """
        if len(self._pending) >= MAX_PENDING_READS:
            message = "too many requests wait to be read"
            raise Overloaded(message)
        future: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self._pending.append(_Pending(key, future))
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_all())
        return await future

    async def _read_all(self) -> None:
        """Reads groups until no read waits."""
        try:
            while self._pending:
                group = self._pending[:MAX_GROUP_READS]
                self._pending = self._pending[MAX_GROUP_READS:]
                await self._read_group(group)
        finally:
            self._reading = None

    async def _read_group(self, group: list[_Pending[Key, Value]]) -> None:
        """Reads a group and resolves its futures."""
        keys = [pending.key for pending in group]
        started_at = self._monotonic()
        try:
            values = await self._database.run(lambda: self._query(keys))
        except EnrollmentError as error:
            _fail(group, error)
            if self._monotonic() - started_at > MAX_READ_FAILURE_SECONDS:
                _fail(self._pending, error)
                self._pending = []
            return
        except Exception as error:  # noqa: BLE001 (one bad key must not fail the group)
            await self._read_halves(group, error)
            return
        for pending, value in zip(group, values, strict=True):
            if not pending.future.done():
                pending.future.set_result(value)

    async def _read_halves(self, group: list[_Pending[Key, Value]], error: Exception) -> None:
        """Reads a group by two queries, and so on, so that only the faulty ones fail."""
        if len(group) == 1:
            log.error("read.failed", exc_info=error)
            _fail(group, error)
            return
        middle = len(group) // 2
        await self._read_group(group[:middle])
        await self._read_group(group[middle:])

    def _query(self, keys: Sequence[Key]) -> Sequence[Value]:
        with self._database.sessions.read_statements() as session:
            return self._find(session, keys)


def _fail(group: Sequence[_Pending[Key, Value]], error: Exception) -> None:
    for pending in group:
        if not pending.future.done():
            pending.future.set_exception(error)
