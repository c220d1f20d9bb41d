"""Audit queries: the timeline of a batch, and the last events of an enrollment.

They tolerate inconsistent data.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session

from enrollment.storage.event_ids import batch_id_column, feed_position
from enrollment.storage.events import event_chain
from enrollment.storage.tables import BatchRow, EventRow, FeedRow

#: Most events of a chain that are returned.
MAX_CHAIN = 20


class BatchTimeline(NamedTuple):
    """The timestamps and counters of a batch, and its outcomes."""

    id: int
    submission_id: UUID | None
    requests: int
    waiting_since: datetime | None
    announced_at: datetime | None
    repeats: int
    attempts: int
    parked_at: datetime | None
    answered_at: datetime | None
    outcomes: bytes | None


class EventLink(NamedTuple):
    """A stored event, with its position in the feed, if it has one."""

    id: int
    at: datetime
    position: int | None
    kind: str
    submission_id: UUID
    line: int
    #: JSON texts.
    before: str | None
    after: str | None


_TIMELINE = select(*(getattr(BatchRow, name) for name in BatchTimeline._fields))


def load_batch_timeline(session: Session, batch_id: int) -> BatchTimeline | None:
    """Returns the timeline of a batch; None if it is not stored any more."""
    row = session.execute(_TIMELINE.where(BatchRow.id == batch_id)).first()
    return None if row is None else BatchTimeline._make(row)


def load_chain(session: Session, newest: int) -> list[EventLink]:
    """Returns an event and the last ones before it in its chain."""
    chain = event_chain(newest, max_events=MAX_CHAIN)
    rows = session.execute(
        select(
            EventRow.id,
            EventRow.at,
            feed_position(EventRow, FeedRow),
            EventRow.kind,
            EventRow.submission_id,
            EventRow.line,
            cast(EventRow.before, Text),
            cast(EventRow.after, Text),
        )
        .select_from(chain)
        .join(EventRow, EventRow.id == chain.c.id)
        .outerjoin(FeedRow, FeedRow.batch_id == batch_id_column(EventRow.id))
    )
    return list({row[0]: EventLink._make(row) for row in rows}.values())
