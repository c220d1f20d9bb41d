"""Claiming: batches locked by the transaction that answers them, and by no other."""

from collections.abc import Collection
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.domain.suspicion import Suspicion, suspicion_of
from enrollment.storage.batches import Waiting
from enrollment.storage.tables import BatchRow

#: Waiting batches of the interactive lane that one transaction takes at most.
MAX_TOGETHER = 64
#: A batch that waits for so long may have been met by a worker that died.
SUSPICIOUS = timedelta(seconds=2)
#: Requests that one transaction of the interactive lane takes at most.
MAX_REQUESTS = 1_000


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
    suspicion: Suspicion | None

    @property
    def is_for_all(self) -> bool:
        """Whether it is taken together with what else waits in its lane."""
        return self.lane == Lane.INTERACTIVE and not self.alone

    def is_suspect(self, now: datetime) -> bool:
        """Whether it was tried before, for all that is known."""
        return (
            self.repeats > 0 or self.suspicion is not None or now - self.announced_at > SUSPICIOUS
        )


class Together(NamedTuple):
    """Batches locked in one go, and the next one that had no room, if any."""

    taken: list[ClaimedBatch]
    more: Waiting | None = None


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
_CLAIM_AGAIN = (
    _CLAIMABLE.where(_BATCH.id.in_(bindparam("batches", expanding=True)))
    .order_by(_BATCH.waiting_since, _BATCH.id)
    .with_for_update(skip_locked=True)
)
_CLAIM_TOGETHER = (
    _CLAIMABLE.where(_BATCH.lane == bindparam("its_lane"), _BATCH.alone.is_(False))
    .order_by(_BATCH.waiting_since, _BATCH.id)
    .limit(MAX_TOGETHER + 1)
    .with_for_update(skip_locked=True)
)
_CLAIM_BEHIND = (
    _UNANSWERED.where(
        _BATCH.submission_id == bindparam("its"),
        _BATCH.ordinal > bindparam("place"),
        _BATCH.ordinal <= bindparam("last"),
    )
    .order_by(_BATCH.ordinal)
    .with_for_update(skip_locked=True)
)


def claim(session: Session, batch_id: int) -> Together:
    """Lock a batch to answer it, or nothing if it is answered, in work, or not its turn.

    The conditional lock is the guard too: a second delivery of the message finds nothing.
    """
    rows = session.execute(_CLAIM, {"batch": batch_id})
    return Together([_claimed(row) for row in rows])


def _claimed(row: Any, announced_at: datetime | None = None) -> ClaimedBatch:
    *facts, announced, repeats, kept, attempts = row
    known = suspicion_of(kept, attempts)
    return ClaimedBatch._make((*facts, announced or announced_at, repeats, known))


def claim_behind(session: Session, first: ClaimedBatch, number: int) -> list[ClaimedBatch]:
    """Lock the batches of a file behind one that is locked, up to a number of them.

    Nothing is known against them, and between them none is missing: so they may be answered in
    its transaction, each after the one before it, though their turn was not announced.
    """
    if first.submission_id is None or first.ordinal is None:
        return []
    given = {"its": first.submission_id, "place": first.ordinal, "last": first.ordinal + number}
    rows = session.execute(_CLAIM_BEHIND, given).all()
    behind = (_claimed(row, first.announced_at) for row in rows if row.announced_at is None)
    places = enumerate(behind, first.ordinal + 1)
    return [batch for _, batch in takewhile(_is_next_and_well, places)]


def _is_next_and_well(placed: tuple[int, ClaimedBatch]) -> bool:
    place, batch = placed
    return batch.ordinal == place and batch.suspicion is None and not batch.alone


def claim_again(session: Session, batch_ids: Collection[int]) -> list[ClaimedBatch]:
    """Lock those of some batches that are still to be answered and not in work."""
    rows = session.execute(_CLAIM_AGAIN, {"batches": list(batch_ids)})
    return [_claimed(row) for row in rows]


def claim_together(session: Session, lane: Lane) -> Together:
    """Lock what waits in a lane, oldest first, up to 1,000 requests in all."""
    taken: list[ClaimedBatch] = []
    room = MAX_REQUESTS
    for row in session.execute(_CLAIM_TOGETHER, {"its_lane": lane.value}):
        batch = _claimed(row)
        if taken and (batch.requests > room or len(taken) == MAX_TOGETHER):
            return Together(taken, Waiting(batch.id, lane))
        room -= batch.requests
        taken.append(batch)
    return Together(taken)


def lane_of(session: Session, batch_id: int) -> tuple[Lane, bool] | None:
    """The lane of a batch, and whether it is judged by itself."""
    row = session.execute(
        select(BatchRow.lane, BatchRow.alone).where(BatchRow.id == batch_id)
    ).first()
    return None if row is None else (Lane(row[0]), row[1])


_SINGLES_WAIT = (
    _CLAIMABLE.with_only_columns(_BATCH.id).where(_BATCH.lane == Lane.INTERACTIVE.value).limit(1)
)


def singles_wait(session: Session) -> bool:
    """Whether anything waits in the interactive lane."""
    return session.scalar(_SINGLES_WAIT) is not None
