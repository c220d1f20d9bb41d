"""Batches that were tried and not answered: what is known of them, and those that are parked."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, exists, or_, select, update
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.domain.suspicion import Suspicion, suspicion_of
from enrollment.storage.tables import BatchRow, SubmissionRow

_TABLE = BatchRow.metadata.tables[BatchRow.__tablename__]
_BATCH = _TABLE.c


class Suspect(NamedTuple):
    """A batch, and what is known of it now."""

    id: int
    known: Suspicion


class Parked(NamedTuple):
    """A batch that nobody touches until it is asked for."""

    id: int
    submission_id: UUID | None
    lane: Lane
    requests: int
    attempts: int
    #: Requests that were found to fail, as places in the batch from 1.
    poisonous: tuple[int, ...]
    waiting_since: datetime | None
    parked_at: datetime


_KEEP = (
    update(_TABLE)
    .where(_BATCH.id == bindparam("batch"), _BATCH.answered_at.is_(None))
    .values(
        suspicion=bindparam("known"),
        attempts=bindparam("tried"),
        alone=or_(_BATCH.alone, bindparam("apart")),
    )
)
_FILE = SubmissionRow.metadata.tables[SubmissionRow.__tablename__].c
_IS_CANCELLED = exists().where(_FILE.id == _BATCH.submission_id, _FILE.cancel_asked_at.is_not(None))
_HOPELESS = update(_TABLE).where(
    _BATCH.id.in_(bindparam("hopeless", expanding=True)), _BATCH.answered_at.is_(None)
)
_PARK = _HOPELESS.where(~_IS_CANCELLED)
#: The rest of a cancelled file is answered without being judged: nothing known is in its way.
_FORGET = _HOPELESS.where(_IS_CANCELLED).values(suspicion=None, attempts=0)


def keep(
    session: Session, suspects: Sequence[Suspect], *, apart: bool = False, now: datetime
) -> None:
    """Note what is known of batches; the hopeless ones are parked.

    Each that failed, or all if told so, are tried by themselves from now on.
    """
    if not suspects:
        return
    values = [
        {
            "batch": batch_id,
            "known": known.as_json(),
            "tried": known.attempts,
            "apart": apart or known.is_apart,
        }
        for batch_id, known in suspects
    ]
    session.execute(_KEEP, values)
    hopeless = [suspect.id for suspect in suspects if suspect.known.is_hopeless]
    if hopeless:
        session.execute(_PARK.values(parked_at=now), {"hopeless": hopeless})
        session.execute(_FORGET, {"hopeless": hopeless})


_PARKED = (
    select(
        _BATCH.id,
        _BATCH.submission_id,
        _BATCH.lane,
        _BATCH.requests,
        _BATCH.suspicion,
        _BATCH.attempts,
        _BATCH.waiting_since,
        _BATCH.parked_at,
    )
    .where(
        _BATCH.answered_at.is_(None),
        _BATCH.announced_at.is_not(None),
        _BATCH.parked_at.is_not(None),
    )
    .order_by(_BATCH.id)
)


def parked(session: Session, *, limit: int) -> list[Parked]:
    """Batches that are parked, oldest first."""
    found = []
    for row in session.execute(_PARKED.limit(limit)):
        known = suspicion_of(row.suspicion, row.attempts) or Suspicion()
        found.append(
            Parked(
                row.id,
                row.submission_id,
                Lane(row.lane),
                row.requests,
                known.attempts,
                tuple(place + 1 for place in known.poisonous),
                row.waiting_since,
                row.parked_at,
            )
        )
    return found


def retry(session: Session, batch_ids: Collection[int] | None) -> list[int]:
    """Set parked batches free (None: all), as if they had never been tried; their ids.

    The sweeper announces them within seconds.
    """
    freed = (
        update(_TABLE)
        .where(_BATCH.answered_at.is_(None), _BATCH.parked_at.is_not(None))
        .values(parked_at=None, suspicion=None, attempts=0)
        .returning(_BATCH.id)
    )
    if batch_ids is not None:
        freed = freed.where(_BATCH.id.in_(batch_ids))
    return sorted(session.scalars(freed))
