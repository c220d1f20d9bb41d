"""Records attempts at batches that may fail, before and after each attempt.

A batch that was re-dispatched, waited long or failed is attempted in two transactions: the first
records the attempt, the second processes the batch. So the death of a worker is counted too. Only
two things count as a failure: an error, and an attempt that is still recorded although its attempt
lock is free. An attempt that only met another worker's claim is cancelled.
"""

import errno
import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from enrollment.domain.poison_search import FailureSearch
from enrollment.storage.engine.attempt_locks import HeldLocks
from enrollment.storage.queue import claims, quarantine
from enrollment.storage.queue.claims import ClaimedBatch
from enrollment.storage.queue.quarantine import FailedBatch

NO_FAILURES = FailureSearch()
#: Errors that mean that this machine has no disk space or file descriptors left.
_LOCAL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})
#: The same of SQLite, for the temporary files of dry runs and of records.
_LOCAL_SQLITE_CODES = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
)


class Started(NamedTuple):
    """Claimed batches, grouped by how they are processed."""

    #: Their attempt is recorded and their attempt lock is held.
    ready: list[ClaimedBatch]
    #: They failed before, so each is to be dispatched by itself.
    alone: list[ClaimedBatch]
    #: Another worker attempts them at the moment.
    busy: list[int]

    @property
    def is_all_busy(self) -> bool:
        """Whether other workers attempt all of them."""
        return bool(self.busy) and not self.ready and not self.alone


def lacks_local_resources(error: Exception) -> bool:
    """Returns whether an error is about this machine, so that it proves nothing about a batch."""
    if isinstance(error, sqlite3.Error):
        code: int = getattr(error, "sqlite_errorcode", 0)
        return code & 0xFF in _LOCAL_SQLITE_CODES
    return isinstance(error, OSError) and error.errno in _LOCAL_ERRNOS


def start_attempts(
    session: Session, claimed: Sequence[ClaimedBatch], locks: HeldLocks, *, now: datetime
) -> Started:
    """Records that attempts of claimed batches start, and takes their attempt locks.

    Of several batches only those that never failed are attempted together. An attempt that was
    left open counts as failed, since its lock is free: its worker died. Batches that are given
    up are parked.
    """
    free = locks.acquire([batch.id for batch in claimed])
    started = Started([], [], [batch.id for batch in claimed if batch.id not in free])
    recorded = []
    for batch in claimed:
        if batch.id not in free:
            continue
        search = batch.failure_search or NO_FAILURES
        if search.begun_at is not None:
            search = search.record_failure(batch.requests)
        if not search.should_park and (len(claimed) == 1 or not search.must_run_alone):
            search = search.start_attempt(now)
            started.ready.append(batch._replace(failure_search=search))
        elif not search.should_park:
            started.alone.append(batch)
        recorded.append(FailedBatch(batch.id, search))
    quarantine.save_attempts(session, recorded, now=now)
    return started


def reclaim_attempted(
    session: Session, attempted: Sequence[ClaimedBatch], *, is_brief: bool = False
) -> list[ClaimedBatch]:
    """Locks those of the batches that are still recorded as attempted by this attempt.

    Raises Conflict where another transaction holds one of them for too long: briefly before the
    batches are processed, which is then repeated, and as long as any lock to settle a record.
    """
    known = {batch.id: batch.failure_search for batch in attempted}
    claimed = claims.reclaim(session, known, is_brief=is_brief)
    return [batch for batch in claimed if batch.failure_search == known[batch.id]]


def record_failures(session: Session, attempted: Sequence[ClaimedBatch], *, now: datetime) -> None:
    """Records that an attempt failed; from now on each of the batches is attempted alone."""
    failed = [
        FailedBatch(batch.id, _search(batch).record_failure(batch.requests))
        for batch in reclaim_attempted(session, attempted)
    ]
    quarantine.save_attempts(session, failed, now=now)


def record_probe(session: Session, attempted: ClaimedBatch, *, now: datetime) -> None:
    """Records that the attempted prefix of a batch passes."""
    passed = [
        FailedBatch(batch.id, _search(batch).record_success(batch.requests))
        for batch in reclaim_attempted(session, [attempted])
    ]
    quarantine.save_attempts(session, passed, now=now)


def cancel_attempts(session: Session, attempted: Sequence[ClaimedBatch], *, now: datetime) -> None:
    """Deletes the record of attempts that prove nothing about their batches."""
    cancelled = [
        FailedBatch(batch.id, _search(batch).cancel_attempt())
        for batch in reclaim_attempted(session, attempted)
    ]
    quarantine.save_attempts(session, cancelled, now=now)


def record_timeouts(session: Session, attempted: Sequence[ClaimedBatch], *, now: datetime) -> None:
    """Deletes the record of attempts that timed out, and makes each batch run alone from now on.

    A batch that timed out alone is counted, so that it is parked in the end.
    """
    is_alone = len(attempted) == 1
    recorded = []
    for batch in reclaim_attempted(session, attempted):
        search = _search(batch)
        after = search.record_timeout() if is_alone else search.cancel_attempt()
        recorded.append(FailedBatch(batch.id, after))
    quarantine.save_attempts(session, recorded, alone=True, now=now)


def _search(batch: ClaimedBatch) -> FailureSearch:
    return batch.failure_search or NO_FAILURES


def poisonous_positions(batch: ClaimedBatch) -> Collection[int]:
    """Returns the positions of the batch's poison requests."""
    return frozenset(_search(batch).poisonous)


def prefix_length(batch: ClaimedBatch) -> int:
    """Returns how many of the batch's requests are attempted."""
    return _search(batch).next_prefix(batch.requests)


def is_probe(batch: ClaimedBatch) -> bool:
    """Returns whether a prefix of the batch is attempted, in a transaction that is rolled back."""
    return _search(batch).is_search
