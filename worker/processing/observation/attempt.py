"""One attempt at batches, as it ended: counted in the metrics, and recorded in traces.

A transaction may process single requests of many submissions. Each of their traces gets a span of
the whole attempt, a child of the request's: so every trace shows when and how its request was
processed. Traces are looked up after the commit, by the batches, which were claimed by then.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from enrollment.domain.errors import EnrollmentError
from enrollment.runtime.tracing.span_values import (
    BATCH_KEY,
    SUBMISSION_KEY,
    Attributes,
    SpanKind,
)
from enrollment.runtime.tracing.spans import ACTIVE
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue.batches import BatchRef
from enrollment.storage.queue.claims import ClaimedBatch
from enrollment.storage.views import trace_contexts
from enrollment.storage.views.trace_contexts import TracedSubmission
from worker.processing.transaction import (
    ProcessedBatches,
    TransactionResult,
    count_result,
    result_name,
)

log = structlog.get_logger()

_NANOSECONDS = 1e9


class Attempt(NamedTuple):
    """The end of one attempt."""

    #: The batches that were attempted.
    attempted: Sequence[ClaimedBatch]
    result: TransactionResult | Exception
    #: Other batches that are to be dispatched.
    next: tuple[BatchRef, ...] = ()
    #: When its commit began, in nanoseconds since 1970; None if that is not known.
    commit_at: int | None = None

    @property
    def batch_ids(self) -> Sequence[int]:
        """The batches that it completed, or else those that were attempted."""
        if isinstance(self.result, ProcessedBatches):
            return self.result.batch_ids
        return [batch.id for batch in self.attempted]


def observe_attempt(sessions: Sessions, ended: Attempt, seconds: float) -> None:
    """Counts an attempt that has just ended, and records it where traces are on."""
    count_result(ended.result, seconds)
    if ACTIVE.recorder is None or not ended.batch_ids:
        return
    end = time.time_ns()
    try:
        with sessions.read() as session:
            traced = trace_contexts.of_batches(session, ended.batch_ids)
    except EnrollmentError as error:  # the attempt has ended all the same
        log.warning("traces.not_recorded", because=str(error))
        return
    attributes = _attributes(ended)
    for submission in traced:
        _record(submission, ended, attributes, (end - int(seconds * _NANOSECONDS), end))


def _attributes(ended: Attempt) -> Attributes:
    lanes = {batch.lane for batch in ended.attempted}
    return {
        "messaging.system": "celery",
        "messaging.operation.type": "process",
        "messaging.batch.message_count": len(ended.batch_ids),
        BATCH_KEY: ended.batch_ids[0],
        "enroll.lane": min(lanes, default=""),
        "enroll.result": result_name(ended.result),
    }


def _record(
    submission: TracedSubmission, ended: Attempt, attributes: Attributes, times: tuple[int, int]
) -> None:
    """Records the attempt in the trace of a submission, and its commit below that."""
    recorder = ACTIVE.recorder
    if recorder is None:
        return
    start, end = times
    shown = {**attributes, SUBMISSION_KEY: str(submission.id)}
    parent = submission.traceparent
    span = recorder.start("process batch", SpanKind.CONSUMER, shown, parent=parent, at=start)
    if isinstance(ended.result, Exception):
        span.fail(type(ended.result).__name__)
    elif ended.commit_at is not None:
        commit = recorder.start(
            "commit", SpanKind.INTERNAL, parent=span.traceparent, at=ended.commit_at
        )
        commit.end(end)
    span.end(end)
