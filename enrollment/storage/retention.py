"""Deletion of submissions: abandoned uploads, and what is older than the retention period."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from enrollment.storage.tables import BatchRow, SubmissionRow


def purge_abandoned_uploads(session: Session, *, before: datetime) -> None:
    """Deletes uploads that began before a time and were never published."""
    is_abandoned = SubmissionRow.published_at.is_(None), SubmissionRow.received_at < before
    session.execute(delete(SubmissionRow).where(*is_abandoned))


def purge_bulks(session: Session, *, before: datetime, limit: int) -> int:
    """Deletes up to `limit` files finished before a time, with their batches; returns how many."""
    old = select(SubmissionRow.id).where(SubmissionRow.finished_at < before).limit(limit)
    ids = session.scalars(old).all()
    session.execute(delete(SubmissionRow).where(SubmissionRow.id.in_(ids)))
    return len(ids)


def purge_singles(session: Session, *, before: datetime, limit: int) -> int:
    """Deletes up to `limit` batches of singles completed before a time; returns how many."""
    old = (
        select(BatchRow.id)
        .where(BatchRow.submission_id.is_(None), BatchRow.answered_at < before)
        .order_by(BatchRow.answered_at)
        .limit(limit)
    )
    ids = session.scalars(old).all()
    session.execute(delete(SubmissionRow).where(SubmissionRow.batch_id.in_(ids)))
    session.execute(delete(BatchRow).where(BatchRow.id.in_(ids)))
    return len(ids)
