"""Claims: batch rows locked by the one transaction that processes them.

`claim` and `claim_lane` skip rows that others hold; `reclaim` waits for rows whose attempt is
recorded, so that meeting another worker for a moment is not mistaken for a failure.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
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
from enrollment.storage.tables import BatchRow

#: Waiting batches of the interactive lane that one transaction takes at most.
MAX_LANE_BATCHES = 64
#: A batch that waits for so long may have been claimed by a worker that died.
STALE_AFTER = timedelta(seconds=2)
#: Microseconds for which `claim_lane` passes over a batch whose attempt was started, so that it
#: takes the next ones. Only a hint: whether the attempt's worker lives, its attempt lock tells.
ATTEMPT_HINT = 3_000_000
#: How long `reclaim` waits for a row that another transaction looks at.
RECLAIM_LOCK_TIMEOUT = "200ms"
#: Requests that one transaction of the interactive lane takes at most.
MAX_LANE_REQUESTS = 1_000


class ClaimedBatch(NamedTuple):
    """A batch that this transaction works on, and nobody else."""

    id: int
    submission_id: UUID | None
    ordinal: int | None
    requests: int
    payload: bytes
    lane: str
    alone: bool
    announced_at: datetime
    #: How often it was announced again.
    repeats: int
    failure_search: FailureSearch | None

    @property
    def claims_lane(self) -> bool:
        """Whether it is taken together with what else waits in its lane."""
        return self.lane == Lane.INTERACTIVE and not self.alone

    def may_have_failed(self, now: datetime) -> bool:
        """Whether it was tried before, for all that is known."""
        return (
            self.repeats > 0
            or self.failure_search is not None
            or now - self.announced_at > STALE_AFTER
        )


class ClaimedBatches(NamedTuple):
    """Batches locked in one go, and the next one that had no room, if any."""

    batches: list[ClaimedBatch]
    next_batch: BatchRef | None = None


#: What is executed for every batch is built once, on the table rather than its class: the
#: mapper's part of a statement costs more than the rest of it.
_BATCH = BatchRow.metadata.tables[BatchRow.__tablename__].c

_UNANSWERED = select(
    _BATCH.id,
    _BATCH.submission_id,
    _BATCH.ordinal,
    _BATCH.requests,
    _BATCH.payload,
    _BATCH.lane,
    _BATCH.alone,
    _BATCH.announced_at,
    _BATCH.repeats,
    _BATCH.suspicion,
    _BATCH.attempts,
).where(_BATCH.answered_at.is_(None), _BATCH.parked_at.is_(None))
_CLAIMABLE = _UNANSWERED.where(_BATCH.announced_at.is_not(None))
_CLAIM = _CLAIMABLE.where(_BATCH.id == bindparam("batch")).with_for_update(skip_locked=True)
_RECLAIM = (
    _CLAIMABLE.where(_BATCH.id.in_(bindparam("batches", expanding=True)))
    .order_by(_BATCH.waiting_since, _BATCH.id)
    .with_for_update()
)
_ATTEMPT_STARTED_AT = func.coalesce(cast(_BATCH.suspicion["begun_at"].as_string(), BigInteger), 0)


def _claim_lane(now_us: ColumnElement[int]) -> Select[Any]:
    """Selects what waits in a lane; `now_us` is the time in microseconds."""
    return (
        _CLAIMABLE.where(
            _BATCH.lane == bindparam("its_lane"),
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
_CLAIM_SUCCESSORS = (
    _UNANSWERED.where(
        _BATCH.submission_id == bindparam("its"),
        _BATCH.ordinal > bindparam("place"),
        _BATCH.ordinal <= bindparam("last"),
    )
    .order_by(_BATCH.ordinal)
    .with_for_update(skip_locked=True)
)


def claim(session: Session, batch_id: int) -> ClaimedBatches:
    """Locks a batch to process it; nothing if it is completed, claimed by others or not due.

    The conditional lock is the guard too: a second delivery of the message finds nothing.
    """
    rows = _locked(session, _CLAIM, {"batch": batch_id})
    return ClaimedBatches([_claimed(row) for row in rows])


def _locked(session: Session, statement: Select[Any], given: Mapping[str, Any]) -> Sequence[Any]:
    """Returns the rows that a statement with SKIP LOCKED could lock."""
    return session.execute(statement, given).all()


def _claimed(row: Any, announced_at: datetime | None = None) -> ClaimedBatch:
    *facts, announced, repeats, stored, attempts = row
    search = failure_search_of(stored, attempts)
    return ClaimedBatch._make((*facts, announced or announced_at, repeats, search))


def claim_successors(session: Session, first: ClaimedBatch, number: int) -> list[ClaimedBatch]:
    """Locks up to `number` batches of a file that follow one that is locked.

    None of them failed before, and there is no gap between them: so they may be processed in the
    same transaction, in order, before they were dispatched.
    """
    if first.submission_id is None or first.ordinal is None:
        return []
    given = {"its": first.submission_id, "place": first.ordinal, "last": first.ordinal + number}
    rows = _locked(session, _CLAIM_SUCCESSORS, given)
    behind = (_claimed(row, first.announced_at) for row in rows if row.announced_at is None)
    places = enumerate(behind, first.ordinal + 1)
    return [batch for _, batch in takewhile(_is_next_without_failures, places)]


def _is_next_without_failures(placed: tuple[int, ClaimedBatch]) -> bool:
    place, batch = placed
    return batch.ordinal == place and batch.failure_search is None and not batch.alone


def reclaim(session: Session, batch_ids: Collection[int]) -> list[ClaimedBatch]:
    """Locks those of the batches that are not completed, and waits for each that others hold.

    Raises Conflict where one of them cannot be had within `RECLAIM_LOCK_TIMEOUT`.
    """
    if not batch_ids:
        return []
    with lock_timeout(session, RECLAIM_LOCK_TIMEOUT):
        rows = session.execute(_RECLAIM, {"batches": list(batch_ids)}).all()
    return [_claimed(row) for row in rows]


def claim_lane(session: Session, lane: Lane, *, busy: Collection[int] = ()) -> ClaimedBatches:
    """Locks what waits in a lane, oldest first, up to 1,000 requests in all.

    Passes over `busy` batches and those whose attempt started less than `ATTEMPT_HINT` ago.
    """
    given: dict[str, Any] = {"its_lane": lane.value, "busy": list(busy)}
    statement = _CLAIM_LANE_POSTGRESQL
    if not is_postgresql(session):
        statement = _CLAIM_LANE_SQLITE
        given["now_us"] = microseconds(database_now(session))
    taken: list[ClaimedBatch] = []
    room = MAX_LANE_REQUESTS
    for row in _locked(session, statement, given):
        batch = _claimed(row)
        if taken and (batch.requests > room or len(taken) == MAX_LANE_BATCHES):
            return ClaimedBatches(taken, BatchRef(batch.id, lane))
        room -= batch.requests
        taken.append(batch)
    return ClaimedBatches(taken)


def lane_of(session: Session, batch_id: int) -> tuple[Lane, bool] | None:
    """The lane of a batch, and whether it is judged by itself."""
    row = session.execute(
        select(BatchRow.lane, BatchRow.alone).where(BatchRow.id == batch_id)
    ).first()
    return None if row is None else (Lane(row[0]), row[1])


_SINGLES_WAIT = (
    _CLAIMABLE.with_only_columns(_BATCH.id).where(_BATCH.lane == Lane.INTERACTIVE.value).limit(1)
)


def has_waiting_singles(session: Session) -> bool:
    """Whether anything waits in the interactive lane."""
    return session.scalar(_SINGLES_WAIT) is not None
