"""The transaction that processes claimed batches: load, decide, write; all of it or nothing.

The number of statements does not depend on the number of rows. Locks are taken in one order:
batches, learners against deletion, courses with a seat limit, new usernames, enrollments, opt-ins,
seats, the feed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from enrollment.domain.codes import Code
from enrollment.domain.errors import Conflict, DatabaseUnavailable, StatementTimeout
from enrollment.domain.submissions import Submission, Tally
from enrollment.runtime.failpoints import Point, fail_point
from enrollment.runtime.metrics.batch_metrics import count_attempt, count_rows
from enrollment.storage import events, submissions
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.queue import batches, redispatch
from enrollment.storage.queue.batches import BatchRef, CompletedBatch
from enrollment.storage.queue.claims import ClaimedBatch
from worker.processing import attempts
from worker.processing.decoded_claim import DecodeCaches, SubmissionsById
from worker.processing.dry_run_overlay import OverlayIncomplete, Overlays, TooManyDryRuns
from worker.processing.load import Locking
from worker.processing.prefetch import Prefetcher
from worker.processing.record_index import RecordIndexes, RecordsIncomplete
from worker.processing.strategies import (
    DEFAULT_RULES,
    Persisted,
    PreparedBatches,
    PreparedDryRun,
    SiteRules,
    options_of,
    prepare,
    prepare_bulk_enroll,
    prepare_dry_run,
)

log = structlog.get_logger()


NO_OUTCOMES = Tally()


class FinishedSubmission(NamedTuple):
    """A file all of whose rows have outcomes."""

    id: UUID
    rows: int
    tally: Tally
    #: The id of the HTTP request with which it came.
    request_id: str | None


class ProcessedBatches(NamedTuple):
    """The batches that one transaction completed, and the next ones to dispatch."""

    batch_ids: tuple[int, ...] = ()
    #: Submissions of files that made progress.
    submission_ids: tuple[UUID, ...] = ()
    next: tuple[BatchRef, ...] = ()
    #: Outcomes of rows; those of dry runs are left out.
    tally: Tally = NO_OUTCOMES
    #: Whether `next` goes to the end of the queue, although this worker has time left.
    is_deferred: bool = False
    #: The submissions of files that are finished, also dry runs and cancelled ones.
    finished: tuple[FinishedSubmission, ...] = ()


class ProbePassed(NamedTuple):
    """The attempted prefix of the batch passes; its changes were rolled back."""


#: Result of a transaction that raised no error.
TransactionResult = (
    ProcessedBatches | ProbePassed | OverlayIncomplete | TooManyDryRuns | RecordsIncomplete
)
#: Names of what completed nothing, by the type of the result; that of any other error is `failed`.
_RESULT_NAMES: Mapping[type, str] = {
    ProbePassed: "deferred",
    OverlayIncomplete: "deferred",
    RecordsIncomplete: "deferred",
    TooManyDryRuns: "deferred",
    Conflict: "conflict",
    StatementTimeout: "timeout",
    DatabaseUnavailable: "unavailable",
}


def result_name(result: TransactionResult | Exception) -> str:
    """Returns how metrics and traces call the end of an attempt."""
    if isinstance(result, ProcessedBatches):
        return "done"
    return _RESULT_NAMES.get(type(result), "failed")


def count_result(result: TransactionResult | Exception, seconds: float) -> None:
    """Counts the end of an attempt in the metrics; one that found nothing to do is none."""
    if not isinstance(result, ProcessedBatches):
        count_attempt(result_name(result), seconds)
    elif result.batch_ids:
        count_attempt(result_name(result), seconds)
        count_rows(len(result.batch_ids), result.tally.counts, result.tally.reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTransaction:
    """Processes claimed batches inside the transaction that claimed them."""

    rules: SiteRules = DEFAULT_RULES
    overlays: Overlays = field(default_factory=Overlays)
    records: RecordIndexes = field(default_factory=RecordIndexes)
    prefetcher: Prefetcher = field(default_factory=Prefetcher)

    def run(
        self,
        session: Session,
        claimed: list[ClaimedBatch],
        locking: Locking = Locking.CAPPED,
        *,
        now: datetime,
    ) -> TransactionResult:
        """Processes the batches; completes those of cancelled submissions as cancelled.

        Raises Conflict where another transaction wrote first.
        """
        ids = {batch.submission_id for batch in claimed if batch.submission_id is not None}
        by_id = submissions.find_all(session, ids)
        cancelled = [batch for batch in claimed if _is_cancelled(batch, by_id)]
        completed = _store_cancelled(session, cancelled, by_id, now)
        for submission_id in completed.submission_ids:
            self.overlays.drop(submission_id)
        remaining = [batch for batch in claimed if batch not in cancelled]
        if not remaining:
            return completed
        result = self._process(session, remaining, by_id, locking, now)
        if not isinstance(result, ProcessedBatches):
            return result
        return ProcessedBatches(
            result.batch_ids + completed.batch_ids,
            result.submission_ids + completed.submission_ids,
            result.next,
            result.tally + completed.tally,
            finished=result.finished + completed.finished,
        )

    def _process(
        self,
        session: Session,
        claimed: list[ClaimedBatch],
        by_id: SubmissionsById,
        locking: Locking,
        now: datetime,
    ) -> TransactionResult:
        prepared = self._prepare(session, claimed, by_id, locking, now)
        if isinstance(prepared, TooManyDryRuns):
            redispatch.mark_deferred(session, claimed[0].id, now=now)
        if isinstance(prepared, OverlayIncomplete | TooManyDryRuns | RecordsIncomplete):
            return prepared
        decision = prepared.decide()
        written = prepared.persist(session, decision, self.prefetcher, now=now)
        if attempts.is_probe(claimed[0]):
            session.rollback()
            return ProbePassed()
        processed = _store_outcomes(session, claimed, by_id, written, now)
        events.assign_positions(session, written.event_counts)
        fail_point(Point.WORK_BEFORE_COMMIT)
        if isinstance(prepared, PreparedDryRun) and not processed.next:
            self.overlays.drop(prepared.submission_id)
        if isinstance(prepared, PreparedDryRun):
            return processed
        return processed._replace(tally=written.total)

    def _prepare(
        self,
        session: Session,
        claimed: list[ClaimedBatch],
        by_id: SubmissionsById,
        locking: Locking,
        now: datetime,
    ) -> PreparedBatches | OverlayIncomplete | TooManyDryRuns | RecordsIncomplete:
        options = options_of(claimed, by_id)
        caches = DecodeCaches(self.prefetcher, self.records)
        if options.dry_run:
            overlay = self.overlays.up_to(session, claimed[0])
            if isinstance(overlay, OverlayIncomplete | TooManyDryRuns):
                return overlay
            return prepare_dry_run(session, claimed, by_id, self.rules, overlay, caches, now=now)
        if options.auto_enroll is not None:
            return prepare_bulk_enroll(
                session, claimed, by_id, self.rules, locking=locking, now=now
            )
        return prepare(session, claimed, by_id, self.rules, caches, locking=locking, now=now)


def _is_cancelled(batch: ClaimedBatch, by_id: SubmissionsById) -> bool:
    return batch.submission_id is not None and (
        by_id[batch.submission_id].cancel_asked_at is not None
    )


def _store_cancelled(
    session: Session, cancelled: Sequence[ClaimedBatch], by_id: SubmissionsById, now: datetime
) -> ProcessedBatches:
    """Completes the remaining batches of cancelled submissions, by one statement each."""
    counts = 0
    finished = []
    for submission, its_batches in _by_submission(cancelled, by_id):
        first = its_batches[0].ordinal or 0
        number = batches.cancel_from(session, submission.id, first, now=now)
        counts += number
        tally = submission.tally + Tally(counts={Code.CANCELLED: number})
        submissions.update_tally(session, submission, tally, now=now, finished_at=now)
        finished.append(_finished(submission, tally))
    return ProcessedBatches(
        tuple(batch.id for batch in cancelled),
        tuple(submission.id for submission, _ in _by_submission(cancelled, by_id)),
        tally=Tally(counts={Code.CANCELLED: counts}) if counts else NO_OUTCOMES,
        finished=tuple(finished),
    )


def _store_outcomes(
    session: Session,
    claimed: Sequence[ClaimedBatch],
    by_id: SubmissionsById,
    written: Persisted,
    now: datetime,
) -> ProcessedBatches:
    """Stores and counts the outcomes of each batch, and makes the batch after it due."""
    rows = [
        CompletedBatch(batch_id, of_batch.encoded, of_batch.tally.as_json())
        for batch_id, of_batch in written.outcomes.items()
    ]
    batches.complete(session, rows, now=now)
    following, finished = [], []
    for submission, its_batches in _by_submission(claimed, by_id):
        tally = sum((written.tally(batch.id) for batch in its_batches), submission.tally)
        following.append(_advance(session, its_batches[-1], submission, tally, now))
        if tally.completed == submission.total:
            finished.append(_finished(submission, tally))
    return ProcessedBatches(
        tuple(batch.id for batch in claimed),
        tuple(submission.id for submission, _ in _by_submission(claimed, by_id)),
        tuple(batch for batch in following if batch is not None),
        finished=tuple(finished),
    )


def _finished(submission: Submission, tally: Tally) -> FinishedSubmission:
    return FinishedSubmission(submission.id, submission.total, tally, submission.request_id)


def _by_submission(
    claimed: Iterable[ClaimedBatch], by_id: SubmissionsById
) -> list[tuple[Submission, list[ClaimedBatch]]]:
    """Groups batches of files by their submission, in order."""
    files: dict[UUID, list[ClaimedBatch]] = {}
    for batch in claimed:
        if batch.submission_id is not None:
            files.setdefault(batch.submission_id, []).append(batch)
    return [(by_id[submission_id], its_batches) for submission_id, its_batches in files.items()]


def _advance(
    session: Session, last: ClaimedBatch, submission: Submission, tally: Tally, now: datetime
) -> BatchRef | None:
    """Stores the tally of a submission and returns its next batch, if one is left."""
    if tally.completed == submission.total:
        # not when the attempt began: a file of one transaction would have taken no time
        end = database_now(session)
        submissions.update_tally(session, submission, tally, now=now, finished_at=end)
        return None
    submissions.update_tally(session, submission, tally, now=now)
    following = batches.mark_dispatched(session, submission.id, (last.ordinal or 0) + 1, now=now)
    if following is None:
        log.error("submission.has_no_next_batch", submission_id=str(submission.id))
    return following
