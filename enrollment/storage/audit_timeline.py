"""Audit queries: the timeline of a batch, and the last events of an enrollment.

They tolerate inconsistent data.
"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Text, bindparam, cast, literal, select
from sqlalchemy.orm import Session, aliased

from enrollment.storage.event_ids import batch_id_column, feed_position
from enrollment.storage.tables import BatchRow, EventRow, FeedRow

#: How many events are followed back from one.
MAX_CHAIN = 20


class BatchTimeline(NamedTuple):
    """The times of a batch, and its outcomes."""

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


_TIMELINE = select(
    BatchRow.id,
    BatchRow.submission_id,
    BatchRow.requests,
    BatchRow.waiting_since,
    BatchRow.announced_at,
    BatchRow.repeats,
    BatchRow.attempts,
    BatchRow.parked_at,
    BatchRow.answered_at,
    BatchRow.outcomes,
).where(BatchRow.id == bindparam("batch"))


def load_batch_timeline(session: Session, batch_id: int) -> BatchTimeline | None:
    """Returns a batch with its times; None where it is not stored any more."""
    row = session.execute(_TIMELINE, {"batch": batch_id}).first()
    return None if row is None else BatchTimeline._make(row)


def _chain() -> Any:
    """An event and those before it; for a few steps only, since a broken chain may be circular."""
    steps = literal(1).label("steps")
    start = select(EventRow.id, EventRow.previous_id, steps).where(
        EventRow.id == bindparam("newest", type_=BigInteger())
    )
    chain = start.cte("chain", recursive=True)
    older = aliased(EventRow)
    chain = chain.union_all(
        select(older.id, older.previous_id, chain.c.steps + 1)
        .join(chain, older.id == chain.c.previous_id)
        .where(chain.c.steps < MAX_CHAIN)
    )
    return (
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


_CHAIN = _chain()


def load_chain(session: Session, newest: int) -> list[EventLink]:
    """Returns an event and the last ones before it in its chain."""
    rows = session.execute(_CHAIN, {"newest": newest})
    return list({row[0]: EventLink._make(row) for row in rows}.values())
