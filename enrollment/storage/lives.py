"""What is known of one batch and of one enrollment, however broken: for whoever looks into it."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Text, bindparam, cast, literal, select
from sqlalchemy.orm import Session, aliased

from enrollment.storage.event_ids import batch_id_column, feed_position
from enrollment.storage.tables import BatchRow, EventRow, FeedRow

#: Events that are followed back from one.
MAX_CHAIN = 20


class Life(NamedTuple):
    """What a batch went through."""

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


class Link(NamedTuple):
    """An event as it is kept, with its place in the feed, if it has one."""

    id: int
    at: datetime
    position: int | None
    kind: str
    submission_id: UUID
    line: int
    #: JSON texts.
    before: str | None
    after: str | None


_LIFE = select(
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


def life_of(session: Session, batch_id: int) -> Life | None:
    """A batch with its times; None where it is not kept any more."""
    row = session.execute(_LIFE, {"batch": batch_id}).first()
    return None if row is None else Life._make(row)


def _chain() -> Any:
    """Followed for a few steps only: a broken chain may be a ring."""
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


def chain_of(session: Session, newest: int) -> list[Link]:
    """An event and those before it."""
    rows = session.execute(_CHAIN, {"newest": newest})
    return list({row[0]: Link._make(row) for row in rows}.values())
