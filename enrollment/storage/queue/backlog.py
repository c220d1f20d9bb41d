"""The backlog of dispatched batches, for the health check."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Select, Subquery, bindparam, func, select, union_all
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.storage.tables import BatchRow

#: Batches of each lane that are counted at most.
MAX_COUNTED = 10_000


class Backlog(NamedTuple):
    """The number of waiting batches, the start of the longest wait, the number of parked ones."""

    waiting: int
    oldest: datetime | None
    parked: int
    #: Whether there are more batches than were counted.
    is_more: bool = False


_BATCH = BatchRow.metadata.tables[BatchRow.__tablename__].c


def _oldest_of(lane: Lane) -> Select[tuple[datetime, datetime]]:
    """Selects the batches of a lane that wait longest, parked ones included, from their index."""
    oldest = (
        select(_BATCH.waiting_since, _BATCH.parked_at)
        .where(
            _BATCH.lane == lane.value,
            _BATCH.answered_at.is_(None),
            _BATCH.announced_at.is_not(None),
        )
        .order_by(_BATCH.waiting_since, _BATCH.id)
        .limit(bindparam("most"))
        .subquery()
    )
    return select(oldest.c.waiting_since, oldest.c.parked_at)


class LaneBacklog(NamedTuple):
    """The number of waiting batches of a lane, the start of the longest wait, the parked ones."""

    waiting: int = 0
    oldest: datetime | None = None
    parked: int = 0


_OLDEST = union_all(*(_oldest_of(lane) for lane in Lane)).subquery()


def _counted(oldest: Subquery) -> Select[int, datetime, int]:
    """Selects the number of waiting batches, the start of the longest wait, and the parked ones."""
    return select(
        func.count().filter(oldest.c.parked_at.is_(None)),
        func.min(oldest.c.waiting_since).filter(oldest.c.parked_at.is_(None)),
        func.count(oldest.c.parked_at),
    )


_BACKLOG = _counted(_OLDEST)
_BY_LANE = {lane: _counted(_oldest_of(lane).subquery()) for lane in Lane}


def load_lane_backlogs(session: Session) -> dict[Lane, LaneBacklog]:
    """Returns the backlog of each lane; counts, and costs, as much as `load_backlog`."""
    found = {}
    for lane in Lane:
        waiting, oldest, parked = session.execute(_BY_LANE[lane], {"most": MAX_COUNTED}).one()
        found[lane] = LaneBacklog(waiting, oldest, parked)
    return found


_FILE_WAITS = select(
    select(_BATCH.id)
    .where(
        _BATCH.lane == Lane.BULK.value,
        _BATCH.answered_at.is_(None),
        _BATCH.announced_at.is_not(None),
        _BATCH.parked_at.is_(None),
    )
    .exists()
)


def has_waiting_files(session: Session) -> bool:
    """Returns whether a batch of a file waits or is being processed."""
    return bool(session.scalar(_FILE_WAITS))


def load_backlog(session: Session) -> Backlog:
    """Returns the backlog of dispatched batches.

    Reads the `MAX_COUNTED` of each lane that wait longest, so its cost is bounded. Of more, parked
    ones are counted as far as they are among these.
    """
    waiting, oldest, parked = session.execute(_BACKLOG, {"most": MAX_COUNTED + 1}).one()
    counted = min(waiting, MAX_COUNTED)
    return Backlog(counted, oldest, parked, is_more=waiting > counted)
