"""Cancellation of submissions."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from enrollment.domain.errors import SubmissionFinished
from enrollment.domain.submissions import Submission
from enrollment.storage import submissions
from enrollment.storage.tables import BatchRow, SubmissionRow


def request_cancel(
    session: Session, submission_id: UUID, caller: str | None, *, now: datetime
) -> Submission:
    """Marks a submission's uncompleted batches as to be cancelled; returns the submission.

    `caller` None may cancel any submission. Locks the batch of a single first, so that no worker
    completes it meanwhile. Raises SubmissionNotFound, SubmissionFinished.
    """
    submission = submissions.find_visible(session, submission_id, caller)
    if submission.batch_id is not None:
        completed_at = session.scalars(
            select(BatchRow.answered_at).where(BatchRow.id == submission.batch_id).with_for_update()
        ).one()
        if completed_at is not None:
            raise SubmissionFinished(str(submission_id))
    marked = session.scalars(
        update(SubmissionRow)
        .where(SubmissionRow.id == submission_id, SubmissionRow.finished_at.is_(None))
        .values(cancel_asked_at=func.coalesce(SubmissionRow.cancel_asked_at, now))
        .returning(SubmissionRow.id)
    ).first()
    if marked is None:
        raise SubmissionFinished(str(submission_id))
    _unpark(session, submission)
    return submission


def _unpark(session: Session, submission: Submission) -> None:
    """Releases parked batches: workers complete them as cancelled, without processing them."""
    is_of_submission = or_(
        BatchRow.submission_id == submission.id, BatchRow.id == submission.batch_id
    )
    session.execute(
        update(BatchRow)
        .where(is_of_submission, BatchRow.parked_at.is_not(None))
        .values(parked_at=None, suspicion=None, attempts=0)
        .execution_options(synchronize_session=False)
    )


_CANCELLED_SINGLES = select(SubmissionRow.id).where(
    SubmissionRow.batch_id.in_(bindparam("batches", expanding=True)),
    SubmissionRow.cancel_asked_at.is_not(None),
)


def cancelled_singles(session: Session, batch_ids: Collection[int]) -> set[UUID]:
    """Returns the ids of those singles in the batches that are to be cancelled."""
    return set(session.scalars(_CANCELLED_SINGLES, {"batches": list(batch_ids)}))
