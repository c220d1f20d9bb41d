"""How far the feed was read for webhooks and destinations, and the submissions that are done."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from enrollment.domain.webhooks.records import DoneSubmission
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.events import events_after
from enrollment.storage.tables import BatchRow, SubmissionRow, WebhookPositionRow

FEED, SUBMISSIONS, DESTINATIONS = "feed", "submissions", "destinations"
_IN_BATCH = BatchRow.id == SubmissionRow.batch_id


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


def unread_age(session: Session, name: str) -> float:
    """Returns the age in seconds of the oldest event that was not read yet; 0 without one."""
    following = events_after(session, find_position(session, name), limit=1)
    return (database_now(session) - following[0].at).total_seconds() if following else 0.0


class DoneSubmissions(NamedTuple):
    """The submissions that ended after a time, without exception those until another one."""

    found: list[DoneSubmission]
    until: datetime


def done_submissions(
    session: Session, *, after: datetime, until: datetime, limit: int
) -> DoneSubmissions:
    """Returns files and singles that ended in a span of time, oldest first.

    About `limit` of each kind: many end at one time, and of these all are returned.
    """
    file_end, single_end = SubmissionRow.finished_at, BatchRow.answered_at
    is_single = BatchRow.submission_id.is_(None)
    for end, query in (
        (file_end, select(file_end).where(SubmissionRow.published_at.is_not(None))),
        (single_end, select(single_end).join(SubmissionRow, _IN_BATCH).where(is_single)),
    ):
        in_order = query.where(end > after, end <= until).order_by(end)
        last = session.scalar(in_order.offset(limit - 1).limit(1))
        until = until if last is None else min(until, last)
    row = SubmissionRow
    columns = row.id, row.caller, row.total, row.tally, row.request_id
    files = select(*columns, file_end).where(
        file_end > after, file_end <= until, SubmissionRow.published_at.is_not(None)
    )
    singles = select(*columns, single_end).join(BatchRow, _IN_BATCH)
    singles = singles.where(is_single, single_end > after, single_end <= until)
    found = [DoneSubmission(*row) for query in (files, singles) for row in session.execute(query)]
    return DoneSubmissions(sorted(found, key=lambda done: done.finished_at), until)
