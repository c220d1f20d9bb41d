"""How far the feed was read for webhooks and destinations, and the submissions that are done."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from enrollment.domain.webhooks.records import DoneSubmission
from enrollment.storage.tables import BatchRow, SubmissionRow, WebhookPositionRow

FEED, SUBMISSIONS, DESTINATIONS = "feed", "submissions", "destinations"


class ReadPosition(NamedTuple):
    """How far a source was read."""

    position: int
    read_until: datetime | None


def lock(session: Session, name: str) -> ReadPosition | None:
    """Locks the position of a source; None if another process has it."""
    row = WebhookPositionRow
    query = select(row.position, row.read_until).where(row.name == name)
    found = session.execute(query.with_for_update(skip_locked=True)).one_or_none()
    return None if found is None else ReadPosition(*found)


def advance(
    session: Session, name: str, *, position: int = 0, read_until: datetime | None = None
) -> None:
    """Stores how far a source was read."""
    session.execute(
        update(WebhookPositionRow)
        .where(WebhookPositionRow.name == name)
        .values(position=position, read_until=read_until)
    )


def find_position(session: Session, name: str) -> int:
    """Returns how far a source was read."""
    query = select(WebhookPositionRow.position).where(WebhookPositionRow.name == name)
    return session.scalars(query).one()


def done_submissions(
    session: Session, *, after: datetime, until: datetime, limit: int
) -> list[DoneSubmission]:
    """Returns files and singles that ended in a span of time, oldest first, `limit` of each."""
    columns = SubmissionRow.id, SubmissionRow.caller, SubmissionRow.total
    files = (
        select(*columns, SubmissionRow.tally, SubmissionRow.finished_at)
        .where(
            SubmissionRow.finished_at > after,
            SubmissionRow.finished_at <= until,
            SubmissionRow.published_at.is_not(None),
        )
        .order_by(SubmissionRow.finished_at)
        .limit(limit)
    )
    batches = (
        select(BatchRow.id, BatchRow.answered_at)
        .where(
            BatchRow.submission_id.is_(None),
            BatchRow.answered_at > after,
            BatchRow.answered_at <= until,
        )
        .order_by(BatchRow.answered_at)
        .subquery()
    )
    singles = (
        select(*columns, SubmissionRow.tally, batches.c.answered_at)
        .join(batches, batches.c.id == SubmissionRow.batch_id)
        .order_by(batches.c.answered_at, SubmissionRow.batch_id)
        .limit(limit)
    )
    found = [DoneSubmission(*row) for query in (files, singles) for row in session.execute(query)]
    return sorted(found, key=lambda done: done.finished_at)
