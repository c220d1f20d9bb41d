"""Quarantine: attempts of batches that did not complete, and parked batches."""

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
    """A batch, and the state of its failure search."""

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
        suspicion=bindparam("search"),
        attempts=bindparam("failed_attempts"),
        alone=or_(_BATCH.alone, bindparam("must_run_alone")),
    )
)
_FILE = SubmissionRow.metadata.tables[SubmissionRow.__tablename__].c
_IS_CANCELLED = exists().where(_FILE.id == _BATCH.submission_id, _FILE.cancel_asked_at.is_not(None))
_UPDATE_PARKED = update(_TABLE).where(
    _BATCH.id.in_(bindparam("batches", expanding=True)), _BATCH.answered_at.is_(None)
)
_PARK = _UPDATE_PARKED.where(~_IS_CANCELLED)
#: The rest of a cancelled file completes without being processed, so it is not parked.
_RESET_CANCELLED = _UPDATE_PARKED.where(_IS_CANCELLED).values(suspicion=None, attempts=0)


def save_attempts(
    session: Session, batches: Sequence[FailedBatch], *, alone: bool = False, now: datetime
) -> None:
    """Stores the failure searches of batches, and parks those that `should_park`.

    Batches that `must_run_alone`, or all of them with `alone`, are processed by themselves from
    now on.
    """
    if not batches:
        return
    values = [
        {
            "batch": batch_id,
            "search": search.as_json(),
            "failed_attempts": search.attempts,
            "must_run_alone": alone or search.must_run_alone,
        }
        for batch_id, search in batches
    ]
    session.execute(_SAVE, values)
    parked = [batch.id for batch in batches if batch.search.should_park]
    if parked:
        session.execute(_PARK.values(parked_at=now), {"batches": parked})
        session.execute(_RESET_CANCELLED, {"batches": parked})


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
        search = failure_search_of(row.suspicion, row.attempts) or FailureSearch()
        found.append(
            ParkedBatch(
                row.id,
                row.submission_id,
                Lane(row.lane),
                row.requests,
                search.attempts,
                tuple(index + 1 for index in search.poisonous),
                row.waiting_since,
                row.parked_at,
            )
        )
    return found


def retry(session: Session, batch_ids: Collection[int] | None) -> list[int]:
    """Releases parked batches (None: all) and resets their attempts; returns their ids.

    The maintenance task dispatches them within seconds.
    """
    released = (
        update(_TABLE)
        .where(_BATCH.answered_at.is_(None), _BATCH.parked_at.is_not(None))
        .values(parked_at=None, suspicion=None, attempts=0)
        .returning(_BATCH.id)
    )
    if batch_ids is not None:
        released = released.where(_BATCH.id.in_(batch_ids))
    return sorted(session.scalars(released))
