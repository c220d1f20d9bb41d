"""The quota of rows that a caller has submitted and that are not processed yet."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from api_gateway.auth.caller import Caller
from api_gateway.database import Database
from api_gateway.http.problems import too_many
from enrollment.storage.queue import open_files

#: Maximum age in seconds of a count.
MAX_COUNT_AGE = 1.0
#: Maximum number of callers whose count is kept.
MAX_CALLERS = 1_000
#: Seconds after which a caller may try again.
BACKLOG_RETRY_SECONDS = 30


class _Count(NamedTuple):
    #: Monotonic seconds.
    started_at: float
    rows: asyncio.Task[int]


class PendingRows:
    """Counts the pending rows of callers, each at most once a second. One per event loop."""

    def __init__(
        self, database: Database, limit: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._limit = limit
        self._clock = clock
        self._counts: dict[str, _Count] = {}

    async def check(self, caller: Caller) -> None:
        """Raises Problem 429 if the caller has too many rows pending; DatabaseUnavailable."""
        rows = await self._count(caller.name)
        if rows >= self._limit:
            raise too_many(
                f"{rows} rows of yours are not processed yet, and uploads are taken again when "
                f"there are fewer than {self._limit} (ENROLL_MAX_PENDING_ROWS_PER_CALLER).",
                retry_after=BACKLOG_RETRY_SECONDS,
            )

    async def _count(self, caller: str) -> int:
        """Returns the number of pending rows; those who ask at the same time share one query."""
        now = self._clock()
        count = self._counts.get(caller)
        if count is None or now - count.started_at >= MAX_COUNT_AGE or _has_failed(count.rows):
            if len(self._counts) >= MAX_CALLERS:
                self._counts.clear()
            query = self._database.read(open_files.count_pending_rows, caller)
            count = self._counts[caller] = _Count(now, asyncio.create_task(query))
        return await asyncio.shield(count.rows)


def _has_failed(rows: asyncio.Task[int]) -> bool:
    return rows.done() and (rows.cancelled() or rows.exception() is not None)
