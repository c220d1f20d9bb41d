"""Records when API keys and OAuth clients were last used, beside the requests of theirs."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import structlog
from sqlalchemy.orm import Session

from api_gateway.database import Database
from enrollment.storage.credentials import api_keys

#: Seconds in which one process records a key's use at most once.
RECORD_INTERVAL_SECONDS = 60.0

log = structlog.get_logger(__name__)


class KeyUsage:
    """Records uses in the background; no request waits for it or fails by it.

    At most one write runs at a time, so a slow database has one thread of the pool busy with it.
    The next one writes all uses that are noted meanwhile. Belongs to one event loop.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float],
        *,
        record: Callable[[Session, Mapping[int, datetime]], None] = api_keys.record_use,
    ) -> None:
        """`clock` is in seconds since 1970; `record` stores the times by id."""
        self._database = database
        self._record = record
        self._clock = clock
        #: When the uses of each key were noted last; only keys that exist come here.
        self._noted_at: dict[int, float] = {}
        self._pending: dict[int, datetime] = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, key_id: int) -> None:
        """Notes that a key is used now. Does nothing if that was noted a short time ago."""
        now = self._clock()
        if abs(now - self._noted_at.get(key_id, 0.0)) < RECORD_INTERVAL_SECONDS:
            return
        self._noted_at[key_id] = now
        self._pending[key_id] = datetime.fromtimestamp(now, UTC)
        if self._writing is None:
            self._start()

    def _start(self) -> None:
        used, self._pending = self._pending, {}
        self._writing = asyncio.create_task(self._write(used))
        self._writing.add_done_callback(self._finish)

    async def _write(self, used: Mapping[int, datetime]) -> None:
        await self._database.write(self._record, used)

    def _finish(self, task: "asyncio.Task[None]") -> None:
        self._writing = None
        if task.cancelled():
            return
        if error := task.exception():
            log.warning("key.use_not_recorded", because=str(error))
        if self._pending:
            self._start()
