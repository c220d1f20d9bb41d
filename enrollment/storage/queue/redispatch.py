"""Overdue batches: dispatched before a time and not completed, so their message may be lost.

The interactive lane needs few messages, since the worker that receives one claims all that waits.
In the bulk lane each batch needs its own.
"""

from datetime import datetime

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.storage.queue.batches import BatchRef
from enrollment.storage.tables import BatchRow

_TABLE = BatchRow.metadata.tables[BatchRow.__tablename__]
_BATCH = _TABLE.c


def mark_redispatched(
    session: Session, lane: Lane, *, before: datetime, now: datetime, limit: int
) -> list[BatchRef]:
    """Marks the overdue batches of a lane that wait longest as dispatched; returns them in order.

    Reads them from the index of waiting batches: no batch waits since later than its dispatch, so
    those that began to wait after `before` are not looked at. Skips locked rows.
    """
    if limit <= 0:
        return []
    parameters = {"lane_name": lane.value, "before": before, "now": now, "most": limit}
    rows = sorted(session.execute(_MARK_REDISPATCHED, parameters).all())
    return [BatchRef(batch_id, lane, alone) for _, batch_id, alone in rows]


_OVERDUE = (
    select(_BATCH.id)
    .where(
        _BATCH.lane == bindparam("lane_name"),
        _BATCH.answered_at.is_(None),
        _BATCH.announced_at.is_not(None),
        _BATCH.waiting_since < bindparam("before"),
        _BATCH.announced_at < bindparam("before"),
        _BATCH.parked_at.is_(None),
    )
    .order_by(_BATCH.waiting_since, _BATCH.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_MARK_REDISPATCHED = (
    update(_TABLE)
    .where(_BATCH.id.in_(_OVERDUE.scalar_subquery()))
    .values(announced_at=bindparam("now"), repeats=_BATCH.repeats + 1)
    .returning(_BATCH.waiting_since, _BATCH.id, _BATCH.alone)
)
_MARK_DEFERRED = (
    update(_TABLE)
    .where(_BATCH.id == bindparam("batch"), _BATCH.answered_at.is_(None))
    .values(announced_at=bindparam("now"))
)


def mark_deferred(session: Session, batch_id: int, *, now: datetime) -> None:
    """Marks a batch as dispatched now, by the worker that puts it back on the queue."""
    session.execute(_MARK_DEFERRED, {"batch": batch_id, "now": now})
