"""Retry policy of batches: lost races, a database that is away, poison requests.

The database is the queue: a batch is claimed by locking its row, so a second delivery of its
message finds nothing. A batch that fails is recorded, retried and searched for the poison request.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.domain.errors import Conflict, DatabaseUnavailable, StatementTimeout
from enrollment.storage import submissions
from enrollment.storage.engine.attempt_locks import HeldLocks
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.queue import claims
from enrollment.storage.queue.batches import BatchRef
from enrollment.storage.queue.claims import ClaimedBatch
from enrollment.storage.queue.lane_floor import LaneFloor
from worker.processing import attempts, batch_claims, record_index
from worker.processing.dry_run_overlay import OverlayIncomplete, TooManyDryRuns
from worker.processing.load import Locking
from worker.processing.observation.attempt import Attempt, observe_attempt
from worker.processing.transaction import (
    BatchTransaction,
    ProbePassed,
    ProcessedBatches,
    TransactionResult,
)

log = structlog.get_logger()

#: Attempts at a batch while other transactions write first.
MAX_CONFLICT_ATTEMPTS = 10
#: Attempts without locks on what may conflict. Then one batch is taken, and all is locked.
MAX_OPTIMISTIC_ATTEMPTS = 2
#: Seconds after which no further attempt is made at once, since each may wait for a lock.
CONFLICT_RETRY_SECONDS = 4.0
#: Tries to write how an attempt ended, while its attempt locks are held.
MAX_SETTLE_ATTEMPTS = 3
#: Seconds that one attempt may take; less than the time limit of a task.
ATTEMPT_SECONDS = 12.0
#: Seconds of CPU time that an attempt must have used for its time limit to count as a failure. With
#: less it waited for the database or the machine.
BLAMED_CPU_SECONDS = 10.0
#: Seconds that the empty prefix may take. If it takes longer, failures prove nothing about rows.
EMPTY_PREFIX_SECONDS = 2.0
#: Seconds after which one message stops processing batches of its file.
TURN_SECONDS = 0.25
#: Batches of its file that one message processes at most.
TURN_BATCHES = 8
#: Rows of one file up to which one transaction processes several batches, which share its fixed
#: cost. A batch with more is processed alone.
ROWS_PER_TRANSACTION = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """Applies the retry policy to batch transactions. Safe to call twice with the same id."""

    sessions: Sessions
    transaction: BatchTransaction = field(default_factory=BatchTransaction)
    #: Rows of one file up to which one transaction processes several batches.
    rows_per_transaction: int = ROWS_PER_TRANSACTION
    #: From where the interactive lane is searched for batches to claim, and for any that wait.
    claim_floor: LaneFloor = field(default_factory=LaneFloor)
    waiting_floor: LaneFloor = field(default_factory=LaneFloor)
    #: Recorded attempts that could not be cancelled yet, since the database was away.
    uncancelled: list[ClaimedBatch] = field(default_factory=list, init=False)

    def process(self, batch_id: int) -> ProcessedBatches:
        """Processes the batch (in the interactive lane: all that wait there), if it is due.

        A batch that fails is recorded, and returned to be dispatched by itself. Raises Conflict and
        DatabaseUnavailable, which prove nothing about the batch.
        """
        until = time.monotonic() + CONFLICT_RETRY_SECONDS
        is_late = False
        self._decode_ahead(batch_id)
        for attempt in range(1, MAX_CONFLICT_ATTEMPTS + 1):
            locks_all = is_late or attempt > MAX_OPTIMISTIC_ATTEMPTS
            locking = Locking.ALL if locks_all else Locking.CAPPED
            self._cancel_pending()
            with self.sessions.attempt_locks.scope() as locks:
                started = time.monotonic()
                ended = self._attempt(batch_id, locks, locking)
                observe_attempt(self.sessions, ended, time.monotonic() - started)
                is_late = time.monotonic() > until
                is_last = attempt == MAX_CONFLICT_ATTEMPTS or (is_late and locks_all)
                processed = self._conclude(batch_id, ended, is_last=is_last)
            if processed is not None:
                return processed
        return ProcessedBatches()

    def process_in_turn(self, batch_id: int) -> Iterator[ProcessedBatches]:
        """Processes the batch and then those of its file behind it, within `TURN_SECONDS`.

        Yields after each transaction. Batches need no message each, which is faster; single
        requests and other files wait for `TURN_BATCHES` batches at most.
        """
        until = time.monotonic() + TURN_SECONDS
        processed = self.process(batch_id)
        remaining = TURN_BATCHES - len(processed.batch_ids)
        while remaining > 0 and self._may_continue(processed) and time.monotonic() < until:
            yield processed._replace(next=())
            processed = self.process(processed.next[0].id)
            remaining -= len(processed.batch_ids)
        yield processed

    def _may_continue(self, processed: ProcessedBatches) -> bool:
        if processed.is_deferred or len(processed.next) != 1 or processed.next[0].claims_lane:
            return False
        with self.sessions.read() as session:
            return not claims.has_waiting_singles(session, self.waiting_floor)

    # --- one attempt --------------------------------------------------------------------------

    def _attempt(self, batch_id: int, locks: HeldLocks, locking: Locking) -> Attempt:
        attempted: Sequence[ClaimedBatch] = ()
        until, cpu_start = time.monotonic() + ATTEMPT_SECONDS, time.thread_time()
        try:
            with self.sessions.begin(seconds=ATTEMPT_SECONDS) as session:
                claimed, more = batch_claims.claim_due(session, batch_id, self.claim_floor)
                if not claimed:
                    return Attempt((), ProcessedBatches())
                now = database_now(session)
                if not any(batch.may_have_failed(now) for batch in claimed):
                    attempted = tuple(claimed)
                    # successors are not recorded: they are attempted again after this one
                    if locking is not Locking.ALL:
                        claimed += self._successors(session, claimed[0])
                    result = self.transaction.run(session, claimed, locking, now=now)
                    return Attempt(attempted, result, more, time.time_ns())
                started = batch_claims.start_next_attempts(
                    session, claimed, locks, self.claim_floor, now=now
                )
                attempted = started.ready  # even if it is unknown whether this commits
            following = more + _alone_batches(started.alone)
            return Attempt(attempted, self._process_recorded(attempted, locking, until), following)
        except Exception as error:  # noqa: BLE001 (returned: `_conclude` decides on it)
            return Attempt(attempted, _classify_time_limit(error, time.thread_time() - cpu_start))

    def _decode_ahead(self, batch_id: int) -> None:
        """Decodes the batches before they are claimed, where a transaction blocks other writers.

        Not those that may have failed: then an attempt is recorded before their rows are touched.
        """
        with self.sessions.read() as session:
            if is_postgresql(session):
                return
            due = claims.claim(session, batch_id).batches
            if not due or due[0].may_have_failed(database_now(session)):
                return
            due += self._successors(session, due[0])
            ids = {batch.submission_id for batch in due if batch.submission_id is not None}
            by_id = submissions.find_all(session, ids)
        self.transaction.prefetcher.decode_ahead(due, by_id)

    def _successors(self, session: Session, first: ClaimedBatch) -> list[ClaimedBatch]:
        if first.claims_lane or first.alone:
            return []
        return claims.claim_successors(session, first, self.rows_per_transaction - first.requests)

    def _process_recorded(
        self, attempted: Sequence[ClaimedBatch], locking: Locking, until: float
    ) -> TransactionResult | Exception:
        """Processes batches with a recorded attempt; `until` is a monotonic deadline."""
        with self.sessions.begin(seconds=until - time.monotonic()) as session:
            claimed = attempts.reclaim_attempted(session, attempted, is_brief=True)
            if not claimed:
                return ProcessedBatches()
            start = time.monotonic()
            result = self.transaction.run(session, claimed, locking, now=database_now(session))
            is_slow = time.monotonic() - start > EMPTY_PREFIX_SECONDS
        if isinstance(result, ProbePassed) and _is_empty(attempted) and is_slow:
            return StatementTimeout("even a batch without requests is slow")
        return result

    # --- after the attempt --------------------------------------------------------------------

    def _conclude(self, batch_id: int, ended: Attempt, *, is_last: bool) -> ProcessedBatches | None:
        """Records the end of an attempt; returns None where it must be repeated at once."""
        attempted, result, following, _ = ended
        match result:
            case ProcessedBatches():
                return result._replace(next=result.next + following)
            case ProbePassed():
                self._record_probe(attempted)
                return ProcessedBatches(next=_alone_batches(attempted) + following)
            case OverlayIncomplete() | record_index.RecordsIncomplete():
                self._cancel(attempted)
                return ProcessedBatches(next=_alone_batches(attempted) + following)
            case TooManyDryRuns():
                self._cancel(attempted)
                following = _alone_batches(attempted) + following
                return ProcessedBatches(next=following, is_deferred=True)
            case Conflict() if not is_last:
                self._cancel(attempted)
                log.info("batch.judged_again", batch_id=batch_id, because=str(result))
                return None
            case StatementTimeout():
                log.warning("batch.took_too_long", batch_ids=[batch.id for batch in attempted])
                self._cancel(attempted, timed_out=True)
                raise result
            case Conflict() | DatabaseUnavailable():
                self._cancel(attempted)
                raise result
            case OSError() | sqlite3.OperationalError() if attempts.lacks_local_resources(result):
                self._cancel(attempted)
                raise DatabaseUnavailable(str(result)) from result
            case _:
                return self._record_failure(batch_id, attempted, result)

    def _record_probe(self, attempted: Sequence[ClaimedBatch]) -> None:
        (batch,) = attempted
        try:
            self._settle(partial(attempts.record_probe, attempted=batch))
        except (Conflict, DatabaseUnavailable):
            self.uncancelled.append(batch)
            raise

    def _record_failure(
        self, batch_id: int, attempted: Sequence[ClaimedBatch], error: Exception
    ) -> ProcessedBatches:
        batch_ids = [batch.id for batch in attempted] or [batch_id]
        log.error("batch.failed", batch_ids=batch_ids, exc_info=error)
        if not attempted:
            raise error
        self._settle(partial(attempts.record_failures, attempted=attempted))
        return ProcessedBatches(next=_alone_batches(attempted))

    def _cancel(self, attempted: Sequence[ClaimedBatch], *, timed_out: bool = False) -> None:
        """Cancels recorded attempts, now or before this process processes its next batch."""
        recorded = [batch for batch in attempted if batch.failure_search is not None]
        if not recorded and not timed_out:
            return
        try:
            if timed_out:
                self._settle(partial(attempts.record_timeouts, attempted=attempted))
            else:
                self._settle(partial(attempts.cancel_attempts, attempted=recorded))
        except (Conflict, DatabaseUnavailable, SoftTimeLimitExceeded):
            self.uncancelled.extend(recorded)

    def _cancel_pending(self) -> None:
        if not self.uncancelled:
            return
        try:
            self._settle(partial(attempts.cancel_attempts, attempted=self.uncancelled))
        except Conflict as conflict:  # another worker has claimed them, and records its own attempt
            log.info("attempt.not_cancelled", because=str(conflict))
        self.uncancelled.clear()

    def _settle(self, write: Callable[..., None]) -> None:
        """Writes how an attempt ended; repeats that while other transactions write first."""
        for remaining in reversed(range(MAX_SETTLE_ATTEMPTS)):
            try:
                with self.sessions.begin() as session:
                    write(session, now=database_now(session))
            except Conflict:
                if not remaining:
                    raise
            else:
                return


def _classify_time_limit(error: Exception, cpu_seconds: float) -> Exception:
    """Returns the error that an attempt ended with; a time limit is one of two.

    StatementTimeout proves nothing about the batch: the attempt waited. A RuntimeError counts as a
    failure: the attempt used the processor for most of its time.
    """
    if not isinstance(error, SoftTimeLimitExceeded | StatementTimeout):
        return error
    if cpu_seconds > BLAMED_CPU_SECONDS:
        return RuntimeError(f"{cpu_seconds:.0f} s of processor time: {error!r}")
    return StatementTimeout(str(error) or "the time limit of the task")


def _is_empty(attempted: Sequence[ClaimedBatch]) -> bool:
    """Returns whether the attempted prefix is the empty one."""
    return [attempts.prefix_length(batch) for batch in attempted] == [0]


def _alone_batches(batches: Sequence[ClaimedBatch]) -> tuple[BatchRef, ...]:
    return tuple(BatchRef(batch.id, Lane(batch.lane), alone=True) for batch in batches)
