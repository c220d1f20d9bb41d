"""Reads submission status for many clients: single-flight queries, short-lived snapshots."""

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

#: Submission, caller, whether the caller is an admin: these determine the result of a read.
ReadKey = tuple[UUID, str, bool]

#: After a read that so many clients shared, the next one is delayed by `READ_DELAY_SECONDS` so
#: that more clients share it: a read costs as much as a dozen responses.
READ_DELAY_THRESHOLD = 32
READ_DELAY_SECONDS = 0.004
#: Maximum age in seconds of a snapshot for a client that was notified of progress, or that
#: waited in vain.
MAX_AGE_AFTER_PROGRESS = 0.25
#: The same without a notification; the read then only detects lost messages.
MAX_AGE_AFTER_SILENCE = 15.0
#: Maximum number of snapshots per process.
MAX_SNAPSHOTS = 256


class Freshness(NamedTuple):
    """The condition for a snapshot instead of a new read. The default accepts none."""

    #: Maximum seconds since the snapshot was requested, exclusive.
    max_age: float = 0.0
    #: The progress that the client has seen.
    known: ProgressMark = ProgressMark(0, is_finished=False, is_cancel_requested=False)
    #: Whether a snapshot must have more progress than `known`, not just the same.
    must_be_newer: bool = False

    def accepts(self, mark: ProgressMark, age: float) -> bool:
        """Whether a snapshot is acceptable. Marks grow with progress, so a greater one is later."""
        is_recent = age < self.max_age
        return is_recent and (mark > self.known or (mark == self.known and not self.must_be_newer))


#: Always read.
READ_NOW = Freshness()


def after_progress(known: Submission) -> Freshness:
    """Returns the condition of a client that has `known` and was notified of progress since."""
    return Freshness(MAX_AGE_AFTER_PROGRESS, known.progress_mark, must_be_newer=True)


def after_timeout(known: Submission) -> Freshness:
    """Returns the condition of a client that has `known` and whose time to wait is over."""
    return Freshness(MAX_AGE_AFTER_PROGRESS, known.progress_mark)


def after_silence(known: Submission) -> Freshness:
    """Returns the condition of a client that has `known` and got no notification since."""
    return Freshness(MAX_AGE_AFTER_SILENCE, known.progress_mark)


class _Read(NamedTuple):
    """A query, and the futures of the clients that share it; each can be cancelled separately."""

    task: asyncio.Task[Status]
    futures: list[asyncio.Future[Status]]


class _Snapshot(NamedTuple):
    #: Monotonic seconds at which the read was requested; it began later.
    requested_at: float
    status: Status


class StatusReader:
    """Reads the status of submissions, with one query for all concurrent clients.

    Invariants: only callers of the same name and rights share results, so that permissions hold.
    A client never gets a read that began before its request, nor a snapshot older than the status
    that it has. Belongs to one event loop.
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
        #: Reads with a query that has not begun, which new clients join; the last read of each key.
        self._joinable: dict[ReadKey, _Read] = {}
        self._last: dict[ReadKey, _Read] = {}
        self._snapshots: OrderedDict[ReadKey, _Snapshot] = OrderedDict()

    async def read(
        self, submission_id: UUID, caller: Caller, freshness: Freshness = READ_NOW
    ) -> Status:
        """Returns the status of a submission, read now or from an acceptable snapshot.

        Raises SubmissionNotFound, DatabaseUnavailable, Overloaded.
        """
        key = submission_id, caller.name, "admin" in caller.scopes
        if not freshness.max_age:
            return await self._shared_read(key, caller)
        now = self._clock()
        snapshot = self._snapshots.get(key)
        if snapshot and freshness.accepts(
            snapshot.status.submission.progress_mark, now - snapshot.requested_at
        ):
            return snapshot.status
        status = await self._shared_read(key, caller)
        self._save_snapshot(key, _Snapshot(now, status))
        return status

    def _save_snapshot(self, key: ReadKey, snapshot: _Snapshot) -> None:
        self._snapshots[key] = snapshot
        self._snapshots.move_to_end(key)
        if len(self._snapshots) > self._max_snapshots:
            self._snapshots.popitem(last=False)

    async def _shared_read(self, key: ReadKey, caller: Caller) -> Status:
        """Joins the read that has not begun, or starts one after the running read."""
        read = self._joinable.get(key)
        if read is None:
            task = asyncio.create_task(self._run(key, caller, self._last.get(key)))
            read = self._joinable[key] = self._last[key] = _Read(task, [])
            task.add_done_callback(partial(self._deliver, key, read.futures))
        future: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        read.futures.append(future)
        return await future

    async def _run(self, key: ReadKey, caller: Caller, previous: _Read | None) -> Status:
        """Waits for the previous read of the key, then reads."""
        if previous is not None:
            await asyncio.wait([previous.task])
            if len(previous.futures) >= READ_DELAY_THRESHOLD:
                await asyncio.sleep(READ_DELAY_SECONDS)
        return await self._database.read(self._query, key, caller)

    def _query(self, session: Session, key: ReadKey, caller: Caller) -> Status:
        """Queries in a pool thread; clients can join until the thread begins."""
        self._joinable.pop(key, None)
        return queries.get_status(session, key[0], caller)

    def _deliver(
        self, key: ReadKey, futures: list[asyncio.Future[Status]], task: asyncio.Task[Status]
    ) -> None:
        """Passes the result or the error to the clients that still wait."""
        for reads in (self._joinable, self._last):
            if key in reads and reads[key].task is task:
                reads.pop(key, None)  # the pool thread may pop it at the same time
        if not task.cancelled():
            task.exception()  # marks it as retrieved, in case every client was cancelled
        for future in futures:
            if not future.done():
                _copy_result(task, future)


def _copy_result(task: asyncio.Task[Status], future: asyncio.Future[Status]) -> None:
    if task.cancelled():
        future.cancel()
    elif error := task.exception():
        future.set_exception(error)
    else:
        future.set_result(task.result())
