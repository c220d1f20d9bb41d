"""Claims: batch rows locked by the one transaction that processes them.

`claim`, `claim_lane` and `claim_successors` skip rows that other transactions lock. `reclaim` waits
for the rows of batches with a recorded attempt, so that a short lock is not taken for a failure.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, cast, func, select
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.domain.model import microseconds
from enrollment.domain.poison_search import FailureSearch, failure_search_of
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.sessions import database_now, lock_timeout
from enrollment.storage.queue.batches import BatchRef
from enrollment.storage.queue.lane_floor import LaneFloor
from enrollment.storage.tables import BatchRow

#: Most batches of the interactive lane that one transaction claims.
MAX_LANE_BATCHES = 64
#: A batch that was dispatched longer ago may have been claimed by a worker that died.
STALE_AFTER = timedelta(seconds=2)
#: Microseconds for which `claim_lane` skips a batch after the start of an attempt. Only a hint: the
#: attempt lock decides whether the attempt's worker is alive.
ATTEMPT_HINT = 3_000_000
#: How long `reclaim` waits for a row that another transaction locks.
RECLAIM_LOCK_TIMEOUT = "200ms"
#: Most requests of the interactive lane that one transaction claims.
MAX_LANE_REQUESTS = 1_000
#: Most batches that are claimed together with the one before them.
MAX_SUCCESSORS = 63
#: Most bytes of batches that are claimed together: long rows take long to decode.
MAX_CLAIMED_BYTES = 4_000_000
#: Every batch waits since later than this.
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class ClaimedBatch(NamedTuple):
    """A batch that is locked by this transaction."""

    id: int
    submission_id: UUID | None
    ordinal: int | None
    requests: int
    payload: bytes
    lane: str
    alone: bool
    #: None if the batch was not dispatched before.
    waiting_since: datetime | None
    announced_at: datetime
    #: Number of re-dispatches.
    repeats: int
    failure_search: FailureSearch | None

    @property
    def claims_lane(self) -> bool:
        """Whether it is claimed together with the other batches that wait in its lane."""
        return self.lane == Lane.INTERACTIVE and not self.alone

    def may_have_failed(self, now: datetime) -> bool:
        """Whether an earlier attempt may have failed or died."""
        return (
            self.repeats > 0
            or self.failure_search is not None
            or now - self.announced_at > STALE_AFTER
        )


class ClaimedBatches(NamedTuple):
    """Batches claimed by one statement, and the next one, if a limit excluded it."""

    batches: list[ClaimedBatch]
    next_batch: BatchRef | None = None


#: Statements of every batch are built once, on the table: the mapper costs more than the rest.
_TABLE = BatchRow.metadata.tables[BatchRow.__tablename__]
_BATCH = _TABLE.c

_UNANSWERED = select(
    _BATCH.id,
    _BATCH.submission_id,
    _BATCH.ordinal,
    _BATCH.requests,
    _BATCH.payload,
    _BATCH.lane,
    _BATCH.alone,
    _BATCH.waiting_since,
    _BATCH.announced_at,
    _BATCH.repeats,
    _BATCH.suspicion,
    _BATCH.attempts,
).where(_BATCH.answered_at.is_(None), _BATCH.parked_at.is_(None))
_CLAIMABLE = _UNANSWERED.where(_BATCH.announced_at.is_not(None))
#: The same, but PostgreSQL does not see that `ix_batch_waiting` has them all, and finds ids by the
#: primary key: that index is small as a rule, but not while an old snapshot is open.
_CLAIMABLE_BY_ID = _UNANSWERED.where(
    func.coalesce(_BATCH.announced_at, _BATCH.answered_at).is_not(None)
)
_CLAIM = _CLAIMABLE_BY_ID.where(_BATCH.id == bindparam("batch")).with_for_update(skip_locked=True)
_AMONG_BATCHES = _CLAIMABLE_BY_ID.where(
    _BATCH.id.in_(bindparam("batches", expanding=True))
).order_by(_BATCH.waiting_since, _BATCH.id)
_RECLAIM = _AMONG_BATCHES.with_for_update()
_RECLAIM_UNLOCKED = _AMONG_BATCHES.with_for_update(skip_locked=True)
_ATTEMPT_STARTED_AT = func.coalesce(cast(_BATCH.suspicion["begun_at"].as_string(), BigInteger), 0)


def _claim_lane(now_us: ColumnElement[int]) -> Select[Any]:
    """Selects the batches that wait in a lane; `now_us` is the time in microseconds."""
    return (
        _CLAIMABLE.where(
            _BATCH.lane == bindparam("claimed_lane"),
            _BATCH.waiting_since >= bindparam("since"),
            _BATCH.alone.is_(False),
            now_us - ATTEMPT_HINT > _ATTEMPT_STARTED_AT,
            _BATCH.id.not_in(bindparam("busy", expanding=True)),
        )
        .order_by(_BATCH.waiting_since, _BATCH.id)
        .limit(MAX_LANE_BATCHES + 1)
        .with_for_update(skip_locked=True)
    )


_EPOCH_US = func.extract("epoch", func.clock_timestamp()) * 1_000_000
_CLAIM_LANE_POSTGRESQL = _claim_lane(cast(_EPOCH_US, BigInteger))
_CLAIM_LANE_SQLITE = _claim_lane(bindparam("now_us", type_=BigInteger))
#: The batches of a file behind one, with the sums of the rows and bytes up to each.
_SUMS = (
    select(
        _BATCH.id,
        func.sum(_BATCH.requests).over(order_by=_BATCH.ordinal).label("rows"),
        func.sum(func.length(_BATCH.payload)).over(order_by=_BATCH.ordinal).label("size"),
    )
    .where(
        _BATCH.submission_id == bindparam("file"),
        _BATCH.ordinal > bindparam("previous"),
        _BATCH.ordinal <= bindparam("last"),
    )
    .subquery("sums")
)
_CLAIM_SUCCESSORS = (
    _UNANSWERED.join(_SUMS, _SUMS.c.id == _BATCH.id)
    .where(_SUMS.c.rows <= bindparam("most_rows"), _SUMS.c.size <= bindparam("most_bytes"))
    .order_by(_BATCH.ordinal)
    .with_for_update(skip_locked=True, of=_TABLE)
)


def claim(session: Session, batch_id: int) -> ClaimedBatches:
    """Locks a batch to process it; returns none if it is completed, locked, parked or not due.

    The condition is also the guard against a second delivery of the message.
    """
    rows = _lock(session, _CLAIM, {"batch": batch_id})
    return ClaimedBatches([_claimed(row) for row in rows])


def _lock(session: Session, statement: Select[Any], parameters: Mapping[str, Any]) -> Sequence[Any]:
    """Returns the rows that a statement with SKIP LOCKED locked."""
    return session.execute(statement, parameters).all()


def _claimed(row: Any, announced_at: datetime | None = None) -> ClaimedBatch:
    *cells, announced, repeats, stored, attempts = row
    search = failure_search_of(stored, attempts)
    return ClaimedBatch._make((*cells, announced or announced_at, repeats, search))


def claim_successors(session: Session, first: ClaimedBatch, max_rows: int) -> list[ClaimedBatch]:
    """Locks the batches of a file that directly follow a claimed one, up to a number of rows.

    Stops at a gap, at a batch that failed before and at one that was dispatched. So the batches may
    be processed in the same transaction, in order.
    """
    if first.submission_id is None or first.ordinal is None or max_rows < 1:
        return []
    previous = first.ordinal
    # The batches of a file have as many rows each; few are shorter, since their rows are long.
    last = previous + min(max_rows // first.requests, MAX_SUCCESSORS)
    if last == previous:
        return []
    parameters = {
        "file": first.submission_id,
        "previous": previous,
        "last": last,
        "most_rows": max_rows,
        "most_bytes": MAX_CLAIMED_BYTES - len(first.payload),
    }
    rows = _lock(session, _CLAIM_SUCCESSORS, parameters)
    successors = (_claimed(row, first.announced_at) for row in rows if row.announced_at is None)
    numbered = enumerate(successors, previous + 1)
    return [batch for _, batch in takewhile(_is_next_without_failures, numbered)]


def _is_next_without_failures(numbered: tuple[int, ClaimedBatch]) -> bool:
    ordinal, batch = numbered
    return batch.ordinal == ordinal and batch.failure_search is None and not batch.alone


def reclaim(
    session: Session, batch_ids: Collection[int], *, is_brief: bool = False
) -> list[ClaimedBatch]:
    """Locks those batches that are not completed, and waits for rows that are locked.

    Raises Conflict if one cannot be locked in time, with `is_brief` in `RECLAIM_LOCK_TIMEOUT`.
    """
    if not batch_ids:
        return []
    parameters = {"batches": list(batch_ids)}
    rows = session.execute(_RECLAIM_UNLOCKED, parameters).all()
    if len(rows) < len(batch_ids):
        with lock_timeout(session, RECLAIM_LOCK_TIMEOUT) if is_brief else nullcontext():
            rows = session.execute(_RECLAIM, parameters).all()
    return [_claimed(row) for row in rows]


def claim_lane(
    session: Session,
    lane: Lane,
    floor: LaneFloor,
    *,
    including: datetime | None = None,
    busy: Collection[int] = (),
) -> ClaimedBatches:
    """Locks the batches that wait in a lane, oldest first, up to `MAX_LANE_REQUESTS` in all.

    Searches from the floor, or from `including`, the start of waiting of a batch that must be
    found. Skips `busy` batches and those with an attempt that started less than `ATTEMPT_HINT` ago.
    """
    since = floor.search_start(including)
    parameters: dict[str, Any] = {
        "claimed_lane": lane.value,
        "busy": list(busy),
        "since": since or _BEGINNING,
    }
    statement = _CLAIM_LANE_POSTGRESQL
    if not is_postgresql(session):
        statement = _CLAIM_LANE_SQLITE
        parameters["now_us"] = microseconds(database_now(session))
    batches = [_claimed(row) for row in _lock(session, statement, parameters)]
    if since is None:
        oldest = batches[0].waiting_since if batches else None
        floor.record_full_search(oldest or database_now(session))
    return _limited(batches, lane)


def _limited(batches: Sequence[ClaimedBatch], lane: Lane) -> ClaimedBatches:
    claimed: list[ClaimedBatch] = []
    room = MAX_LANE_REQUESTS
    for batch in batches:
        if claimed and (batch.requests > room or len(claimed) == MAX_LANE_BATCHES):
            return ClaimedBatches(claimed, BatchRef(batch.id, lane))
        room -= batch.requests
        claimed.append(batch)
    return ClaimedBatches(claimed)


def lane_of(session: Session, batch_id: int) -> tuple[Lane, bool] | None:
    """Returns the lane of a batch, and whether it is processed by itself; None if it is unknown."""
    row = session.execute(
        select(BatchRow.lane, BatchRow.alone).where(BatchRow.id == batch_id)
    ).first()
    return None if row is None else (Lane(row[0]), row[1])


_OLDEST_SINGLE = (
    _CLAIMABLE.with_only_columns(_BATCH.waiting_since)
    .where(_BATCH.lane == Lane.INTERACTIVE.value, _BATCH.waiting_since >= bindparam("since"))
    .order_by(_BATCH.waiting_since, _BATCH.id)
    .limit(1)
)


def has_waiting_singles(session: Session, floor: LaneFloor) -> bool:
    """Whether a batch waits in the interactive lane, as far as a search from the floor finds it.

    The floor is one of its own, since batches that `claim_lane` skips count here.
    """
    since = floor.search_start()
    oldest = session.scalar(_OLDEST_SINGLE, {"since": since or _BEGINNING})
    if since is None:
        floor.record_full_search(oldest or database_now(session))
    return oldest is not None
