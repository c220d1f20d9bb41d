"""Attempts: what is recorded about batches whose processing may fail, before and after each try.

A batch that was dispatched again, waited long or failed is attempted in two transactions: the
first records the attempt, the second processes the batch. So a worker that dies is counted too.
Only what is known to have failed counts: an error, or an attempt that is still recorded although
nobody holds its attempt lock. Whoever merely meets another worker at a claim takes back the record.
"""

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


class Started(NamedTuple):
    """Claimed batches, by what becomes of them."""

    #: Their attempt is recorded and their attempt lock is held.
    ready: list[ClaimedBatch]
    #: They failed before, so each is to be dispatched by itself.
    apart: list[ClaimedBatch]
    #: Another worker attempts them at the moment.
    busy: list[int]

    @property
    def is_all_busy(self) -> bool:
        """Whether other workers attempt all of them."""
        return bool(self.busy) and not self.ready and not self.apart


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
            started.apart.append(batch)
        recorded.append(FailedBatch(batch.id, search))
    quarantine.save_attempts(session, recorded, now=now)
    return started


def reclaim_attempted(session: Session, attempted: Sequence[ClaimedBatch]) -> list[ClaimedBatch]:
    """Locks those of the batches whose record is still that of this attempt.

    Raises Conflict where another transaction holds one of them for too long.
    """
    known = {batch.id: batch.failure_search for batch in attempted}
    claimed = claims.reclaim(session, known)
    return [batch for batch in claimed if batch.failure_search == known[batch.id]]


def record_failures(session: Session, attempted: Sequence[ClaimedBatch], *, now: datetime) -> None:
    """Records that an attempt failed: from now on each of the batches is attempted alone."""
    failed = [
        FailedBatch(batch.id, _search(batch).record_failure(batch.requests))
        for batch in reclaim_attempted(session, attempted)
    ]
    quarantine.save_attempts(session, failed, now=now)


def record_probe(session: Session, attempted: ClaimedBatch, *, now: datetime) -> None:
    """Records that the prefix that was tried passes."""
    passed = [
        FailedBatch(batch.id, _search(batch).record_success(batch.requests))
        for batch in reclaim_attempted(session, [attempted])
    ]
    quarantine.save_attempts(session, passed, now=now)


def cancel_attempts(session: Session, attempted: Sequence[ClaimedBatch], *, now: datetime) -> None:
    """Takes back the record of attempts that ended without saying anything about the batches."""
    cancelled = [
        FailedBatch(batch.id, _search(batch).cancel_attempt())
        for batch in reclaim_attempted(session, attempted)
    ]
    quarantine.save_attempts(session, cancelled, now=now)


def record_timeouts(session: Session, attempted: Sequence[ClaimedBatch], *, now: datetime) -> None:
    """Takes back the record of attempts that ran out of time: the batches are too many together.

    One that ran out of time alone is counted, so that it is parked in the end.
    """
    alone = len(attempted) == 1
    recorded = []
    for batch in reclaim_attempted(session, attempted):
        search = _search(batch)
        after = search.record_timeout() if alone else search.cancel_attempt()
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
    """Whether a prefix of the batch is tried, in a transaction that is rolled back."""
    return _search(batch).is_search
