"""Read models of submissions: a caller's submissions, newest first, page by page."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, not_, or_, select
from sqlalchemy.orm import Session

from enrollment.domain.codes import Kind, State
from enrollment.domain.submissions import Submission
from enrollment.storage.submissions import SUBMISSION_COLUMNS, submission_of
from enrollment.storage.tables import BatchRow, SubmissionRow


class SubmissionPageKey(NamedTuple):
    """Key of the last row of a page: newest first, then by id."""

    received_at: datetime
    id: UUID


def page(
    session: Session,
    caller: str,
    *,
    states: Collection[State],
    after: SubmissionPageKey | None,
    limit: int,
) -> list[Submission]:
    """Returns the caller's submissions, newest first; only those in `states`, if it is not empty.

    The `finished_at` of a single is the time at which its batch was completed.
    """
    completed = select(BatchRow.answered_at).where(BatchRow.id == SubmissionRow.batch_id)
    finished = func.coalesce(SubmissionRow.finished_at, completed.scalar_subquery())
    columns = [
        finished.label("finished_at") if column.key == "finished_at" else column
        for column in SUBMISSION_COLUMNS
    ]
    query = (
        select(*columns)
        .where(SubmissionRow.caller == caller, SubmissionRow.published_at.is_not(None))
        .order_by(SubmissionRow.received_at.desc(), SubmissionRow.id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(
            or_(
                SubmissionRow.received_at < after.received_at,
                and_(SubmissionRow.received_at == after.received_at, SubmissionRow.id < after.id),
            )
        )
    if states:
        query = query.where(or_(*(_in_state(state, finished) for state in sorted(states))))
    return [submission_of(row) for row in session.execute(query)]


def _in_state(state: State, finished: ColumnElement[Any]) -> ColumnElement[bool]:
    cancelled = SubmissionRow.cancel_asked_at.is_not(None) & (
        SubmissionRow.kind.__eq__(Kind.SINGLE)
        | SubmissionRow.tally["cancelled"].as_integer().is_not(None)
    )
    conditions: dict[State, ColumnElement[bool]] = {
        State.QUEUED: finished.is_(None) & SubmissionRow.started_at.is_(None),
        State.RUNNING: finished.is_(None) & SubmissionRow.started_at.is_not(None),
        State.DONE: finished.is_not(None) & not_(cancelled),
        State.CANCELLED: finished.is_not(None) & cancelled,
    }
    return conditions[state]
