"""Reads submission status for many clients: single-flight queries and short-lived snapshots."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.database import Database
from api_gateway.status import queries
from api_gateway.status.queries import Status
from enrollment.domain.submissions import ProgressMark, Submission

#: Submission, caller and whether the caller is an admin: what the result of a read depends on.
Key = tuple[UUID, str, bool]

#: After a read shared by so many clients, the next one is delayed by `GATHER_SECONDS` so that
#: more clients can share it: one read costs as much as a dozen responses.
CROWD = 32
GATHER_SECONDS = 0.004
#: Maximum age in seconds of a snapshot for a client that was notified of progress.
FRESH_SECONDS = 0.25
#: Maximum age of a snapshot for a client that was not; the read then only detects progress
#: whose notification was lost.
STALE_SECONDS = 15.0
#: Snapshots kept per process.
MAX_SNAPSHOTS = 256


class Freshness(NamedTuple):
    """Which snapshot may be returned instead of a new read. The default accepts none."""

    #: Seconds since the snapshot was requested; exclusive.
    max_age: float = 0.0
    #: The progress that the client has seen.
    known: ProgressMark = ProgressMark(0, is_finished=False, is_cancel_requested=False)
    #: Accept only a snapshot with more progress than `known`; otherwise the same will do too.
    must_be_newer: bool = False

    def accepts(self, mark: ProgressMark, age: float) -> bool:
        """Whether a snapshot serves. Marks grow with all progress, so the greater is the later."""
        is_recent = age < self.max_age
        return is_recent and (mark > self.known or (mark == self.known and not self.must_be_newer))


#: Always read.
READ_NOW = Freshness()


def after_progress(known: Submission) -> Freshness:
    """For a client that has `known` and was notified of progress since."""
    return Freshness(FRESH_SECONDS, known.progress_mark, must_be_newer=True)


def after_silence(known: Submission) -> Freshness:
    """For a client that has `known` and was notified of nothing."""
    return Freshness(STALE_SECONDS, known.progress_mark)


class _Read(NamedTuple):
    """A query, and the futures of the clients that share it; each can be cancelled alone."""

    task: asyncio.Task[Status]
    waiting: list[asyncio.Future[Status]]


class _Snapshot(NamedTuple):
    #: Monotonic seconds at which the read was requested; it began no earlier.
    requested_at: float
    status: Status


class StatusReader:
    """Reads the status of submissions, one query for all clients that ask at the same time.

    Invariants: results are shared by callers of the same name and rights only, so a caller who
    may not see a submission gets nothing. A client is never given a read that began before it
    asked, nor a snapshot older than what it has. Belongs to one event loop.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_snapshots: int = MAX_SNAPSHOTS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._max_snapshots = max_snapshots
        #: Reads whose query has not begun, which newcomers share; and the last read of each key.
        self._joinable: dict[Key, _Read] = {}
        self._last: dict[Key, _Read] = {}
        self._snapshots: OrderedDict[Key, _Snapshot] = OrderedDict()

    async def read(
        self, submission_id: UUID, caller: Caller, freshness: Freshness = READ_NOW
    ) -> Status:
        """Return the status of a submission, read now or from a snapshot that is fresh enough.

        Raises SubmissionNotFound, RecordsUnavailable, Overloaded.
        """
        key = submission_id, caller.name, "admin" in caller.scopes
        if not freshness.max_age:
            return await self._shared_read(key, caller)
        now = self._clock()
        kept = self._snapshots.get(key)
        if kept and freshness.accepts(
            kept.status.submission.progress_mark, now - kept.requested_at
        ):
            return kept.status
        status = await self._shared_read(key, caller)
        self._keep(key, _Snapshot(now, status))
        return status

    def _keep(self, key: Key, snapshot: _Snapshot) -> None:
        self._snapshots[key] = snapshot
        self._snapshots.move_to_end(key)
        if len(self._snapshots) > self._max_snapshots:
            self._snapshots.popitem(last=False)

    async def _shared_read(self, key: Key, caller: Caller) -> Status:
        read = self._joinable.get(key)
        if read is None:
            task = asyncio.create_task(self._run(key, caller, self._last.get(key)))
            read = self._joinable[key] = self._last[key] = _Read(task, [])
            task.add_done_callback(partial(self._deliver, key, read.waiting))
        mine: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        read.waiting.append(mine)
        return await mine

    async def _run(self, key: Key, caller: Caller, previous: _Read | None) -> Status:
        if previous is not None:
            await asyncio.wait([previous.task])
            if len(previous.waiting) >= CROWD:
                await asyncio.sleep(GATHER_SECONDS)
        return await self._database.read(self._query, key, caller)

    def _query(self, session: Session, key: Key, caller: Caller) -> Status:
        """Query, in a pool thread. Waiting for the thread may take time: newcomers still join."""
        self._joinable.pop(key, None)
        return queries.get_status(session, key[0], caller)

    def _deliver(
        self, key: Key, waiting: list[asyncio.Future[Status]], task: asyncio.Task[Status]
    ) -> None:
        """Pass the result, or the error, to the clients that still wait."""
        for reads in (self._joinable, self._last):
            if key in reads and reads[key].task is task:
                reads.pop(key, None)  # the pool thread may pop it at the same time
        if not task.cancelled():
            task.exception()  # mark it as retrieved if every client was cancelled
        for each in waiting:
            if not each.done():
                _copy_result(task, each)


def _copy_result(task: asyncio.Task[Status], future: asyncio.Future[Status]) -> None:
    if task.cancelled():
        future.cancel()
    elif error := task.exception():
        future.set_exception(error)
    else:
        future.set_result(task.result())
