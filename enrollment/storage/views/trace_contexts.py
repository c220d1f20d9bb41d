"""Contexts of traces: those of submissions, and of the submissions that batches and events are of.

Asked only where traces are on. Submissions that were handed in while they were off have none.
"""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from enrollment.storage.tables import BatchRow, SubmissionRow
from enrollment.storage.views.feed_positions import events_at

_CONTEXT = SubmissionRow.traceparent


class TracedSubmission(NamedTuple):
    """A submission, and the context of its trace (W3C: traceparent)."""

    id: UUID
    traceparent: str


def of_submissions(session: Session, ids: Collection[UUID]) -> dict[UUID, str]:
    """Returns the contexts of submissions by id, in one statement."""
    if not ids:
        return {}
    query = select(SubmissionRow.id, _CONTEXT).where(SubmissionRow.id.in_(list(ids)))
    return {row[0]: row[1] for row in session.execute(query) if row[1] is not None}


def of_batches(session: Session, batch_ids: Collection[int]) -> list[TracedSubmission]:
    """Returns the submissions that have requests in batches, with their contexts."""
    if not batch_ids:
        return []
    ids = list(batch_ids)
    singles = select(SubmissionRow.id, _CONTEXT).where(
        SubmissionRow.batch_id.in_(ids), _CONTEXT.is_not(None)
    )
    files = (
        select(SubmissionRow.id, _CONTEXT)
        .join(BatchRow, BatchRow.submission_id == SubmissionRow.id)
        .where(BatchRow.id.in_(ids), _CONTEXT.is_not(None))
    )
    found = session.execute(singles.union(files))
    return [TracedSubmission._make(row) for row in found]


def at_positions(session: Session, positions: Collection[int]) -> dict[int, TracedSubmission]:
    """Returns the submissions of events, by their positions in the feed."""
    if not positions:
        return {}
    wanted = set(positions)
    submissions = {
        event.position: event.submission_id
        for event in events_at(session, sorted(wanted))
        if event.position in wanted
    }
    contexts = of_submissions(session, set(submissions.values()))
    return {
        position: TracedSubmission(id_, contexts[id_])
        for position, id_ in submissions.items()
        if id_ in contexts
    }
