"""Sends the replies that are owed, at least once: from rows, which are deleted afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from redis import Redis, ResponseError
from sqlalchemy.orm import Session

from enrollment.domain.model import Outcome
from enrollment.domain.submissions import Submission, is_cancelled_as_whole
from enrollment.runtime.failpoints import Point, fail_point
from enrollment.runtime.tracing.span_values import SpanKind
from enrollment.runtime.tracing.spans import ACTIVE, span_in_each
from enrollment.storage import submissions
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue import batches
from enrollment.storage.replies import owed_replies
from enrollment.storage.replies.owed_replies import DueReply
from enrollment.storage.views import submission_views, trace_contexts
from schemas.outcomes import decode_outcomes, tally_outcomes
from worker.inbound.messages import MAX_MESSAGE_REQUESTS
from worker.inbound.reply_entries import MAX_REPLIES, outcome_entry

log = structlog.get_logger()

#: Replies that are sent together at most.
MAX_TOGETHER = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplySender:
    """Sends replies, one process at a time. Belongs to one thread."""

    sessions: Sessions
    redis: Redis

    def send_due(self) -> int:
        """Sends the oldest replies that are due; returns how many.

        Raises RedisError, DatabaseUnavailable; the replies are then sent again.
        """
        if not self._list_due():
            return 0
        with owed_replies.sole_sender(self.sessions) as is_sole:
            return self._send(self._list_due()) if is_sole else 0

    def _list_due(self) -> list[DueReply]:
        with self.sessions.read() as session:
            return owed_replies.list_due(session, limit=MAX_TOGETHER)

    def _send(self, due: Sequence[DueReply]) -> int:
        with self.sessions.read() as session:
            entries = _entries_of(session, due)
            traceparents = _traceparents(session, due)
        with (
            span_in_each("send reply", SpanKind.PRODUCER, traceparents),
            self.redis.pipeline(transaction=False) as pipeline,
        ):
            for reply, entry in entries:
                pipeline.xadd(reply.stream, entry, maxlen=MAX_REPLIES, approximate=True)
            results: list[Any] = pipeline.execute(raise_on_error=False)
        fail_point(Point.REPLY_SENT)
        sent = [
            reply.id
            for (reply, _), result in zip(entries, results, strict=True)
            if _is_settled(reply, result)
        ]
        if sent:
            with self.sessions.begin() as session:
                owed_replies.delete(session, sent)
        failures = [result for result in results if isinstance(result, Exception)]
        if failures and len(sent) < len(entries):
            raise next(error for error in failures if not _has_wrong_type(error))
        return len(sent)


def _traceparents(session: Session, due: Sequence[DueReply]) -> list[str]:
    """Returns the contexts of the submissions of replies; none while traces are off."""
    if ACTIVE.recorder is None:
        return []
    found = trace_contexts.of_submissions(session, {each.submission_id for each in due})
    return list(found.values())


def _is_settled(reply: DueReply, result: Any) -> bool:
    """Returns whether a reply was delivered, or can never be."""
    if not isinstance(result, Exception):
        return True
    if not _has_wrong_type(result):
        return False
    log.error("reply.undeliverable", stream=reply.stream, because=str(result))
    return True


def _has_wrong_type(error: Exception) -> bool:
    """Returns whether the key of a stream holds something else."""
    return isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE")


def _entries_of(session: Session, due: Sequence[DueReply]) -> list[tuple[DueReply, dict[Any, Any]]]:
    """Returns the entry of each reply."""
    found = submissions.find_all(session, {reply.submission_id for reply in due})
    batch_ids = {each.batch_id for each in found.values() if each.batch_id is not None}
    stored = submission_views.find_outcomes(session, batch_ids)
    decoded = {batch_id: decode_outcomes(each.outcomes) for batch_id, each in stored.items()}
    entries = []
    for reply in due:
        submission = found.get(reply.submission_id)
        if submission is None:
            continue
        outcomes: list[Outcome]
        if submission.batch_id is None:
            outcomes = _outcomes_of_list(session, submission)
        elif submission.batch_id in decoded:
            at = stored[submission.batch_id].answered_at
            outcomes = [decoded[submission.batch_id][submission.position or 0]]
            tally = tally_outcomes(outcomes)
            submission = replace(submission, tally=tally, started_at=at, finished_at=at)
        else:
            continue
        entries.append((reply, outcome_entry(reply.sent_id, submission, outcomes)))
    return entries


def _outcomes_of_list(session: Session, submission: Submission) -> list[Outcome]:
    """Returns the outcomes of a list; none of a batch that was cancelled as a whole."""
    found = batches.list_outcomes(session, submission.id, 0, MAX_MESSAGE_REQUESTS)
    return [
        outcome
        for stored in found
        if not is_cancelled_as_whole(stored)
        for outcome in decode_outcomes(stored)
    ]
