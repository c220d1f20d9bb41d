"""Quarantine: the attempts of batches that did not complete, and the batches that are parked."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, exists, or_, select, update
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.domain.poison_search import FailureSearch, failure_search_of
from enrollment.storage.tables import BatchRow, SubmissionRow

_TABLE = BatchRow.metadata.tables[BatchRow.__tablename__]
_BATCH = _TABLE.c


class FailedBatch(NamedTuple):
    """A batch, and what is known about its attempts."""

    id: int
    search: FailureSearch


class ParkedBatch(NamedTuple):
    """A batch that is not processed again until an operator retries it."""

    id: int
    submission_id: UUID | None
    lane: Lane
    requests: int
    attempts: int
    #: Poison requests found so far, as positions in the batch from 1.
    poisonous: tuple[int, ...]
    waiting_since: datetime | None
    parked_at: datetime


_SAVE = (
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
_UPDATE_PARKED = update(_TABLE).where(
    _BATCH.id.in_(bindparam("given_up", expanding=True)), _BATCH.answered_at.is_(None)
)
_PARK = _UPDATE_PARKED.where(~_IS_CANCELLED)
#: The rest of a cancelled file completes without being processed: nothing keeps it parked.
_RESET_CANCELLED = _UPDATE_PARKED.where(_IS_CANCELLED).values(suspicion=None, attempts=0)


def save_attempts(
    session: Session, batches: Sequence[FailedBatch], *, alone: bool = False, now: datetime
) -> None:
    """Stores what is known about batches' attempts, and parks those that are given up.

    Batches that failed, or all of them with `alone`, are processed by themselves from now on.
    """
    if not batches:
        return
    values = [
        {
            "batch": batch_id,
            "known": search.as_json(),
            "tried": search.attempts,
            "apart": alone or search.must_run_alone,
        }
        for batch_id, search in batches
    ]
    session.execute(_SAVE, values)
    parked = [batch.id for batch in batches if batch.search.should_park]
    if parked:
        session.execute(_PARK.values(parked_at=now), {"given_up": parked})
        session.execute(_RESET_CANCELLED, {"given_up": parked})


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


def list_parked(session: Session, *, limit: int) -> list[ParkedBatch]:
    """Returns parked batches, oldest first."""
    found = []
    for row in session.execute(_PARKED.limit(limit)):
        known = failure_search_of(row.suspicion, row.attempts) or FailureSearch()
        found.append(
            ParkedBatch(
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
    """Releases parked batches (None: all) as if they were never tried; returns their ids.

    They are dispatched again within seconds.
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
