"""Batches: taken in, claimed, answered, announced again."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    Select,
    bindparam,
    case,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.domain.submissions import CANCELLED_AS_WHOLE
from enrollment.storage.bulk.pipelining import scaled_timeout
from enrollment.storage.event_ids import event_id
from enrollment.storage.tables import BatchRow


class NewBatch(NamedTuple):
    """Requests on their way into the records."""

    requests: int
    payload: bytes


class CompletedBatch(NamedTuple):
    """The outcomes of a batch: one compact value, and how many of which."""

    batch_id: int
    outcomes: bytes
    tally: dict[str, Any]


class BatchRef(NamedTuple):
    """A batch to be announced."""

    id: int
    lane: Lane
    #: Judged by itself: nobody takes it along who was rung for another.
    alone: bool = False

    @property
    def claims_lane(self) -> bool:
        """Whether who is rung takes everything that waits in the lane, not this batch alone."""
        return self.lane is Lane.INTERACTIVE and not self.alone


class BatchResult(NamedTuple):
    """A batch as readers of outcomes see it; ``outcomes`` is None until it is answered."""

    id: int
    ordinal: int
    requests: int
    payload: bytes
    outcomes: bytes | None
    answered_at: datetime | None
    #: None until it is answered, and of a cancelled one.
    tally: Mapping[str, Any] | None


def intake_number(batch_id: int, position: int) -> int:
    """Returns the place of a request in the order of intake; composed as event ids are."""
    return event_id(batch_id, position)


#: What is executed for every batch is built once, on the table rather than its class: the
#: mapper's part of a statement costs more than the rest of it.
_TABLE = BatchRow.metadata.tables[BatchRow.__tablename__]
_BATCH = _TABLE.c

_INSERT = insert(_TABLE)
_INSERT_ONE = _INSERT.returning(_BATCH.id)


def insert_batch_of_singles(session: Session, batch: NewBatch, *, now: datetime) -> int:
    """Store a batch of singles, announced at once; returns its id."""
    row = {
        "requests": batch.requests,
        "payload": batch.payload,
        "lane": Lane.INTERACTIVE.value,
        "announced_at": now,
        "waiting_since": now,
    }
    made: int = session.scalars(_INSERT_ONE, row).one()
    return made


def insert_for_submission(
    session: Session,
    submission_id: UUID,
    first_ordinal: int,
    batches: Sequence[NewBatch],
    *,
    lane: Lane,
    alone: bool,
) -> None:
    """Store batches of a submission in their order, not announced."""
    rows = [
        {
            "requests": batch.requests,
            "payload": batch.payload,
            "submission_id": submission_id,
            "ordinal": ordinal,
            "lane": lane.value,
            "alone": alone,
        }
        for ordinal, batch in enumerate(batches, first_ordinal)
    ]
    with scaled_timeout(session, len(rows)):
        session.execute(_INSERT, rows)


#: The attempt that completes a batch is not counted; it is open where it was recorded.
_FAILED_ATTEMPTS = _BATCH.attempts - case(
    (_BATCH.suspicion["begun_at"].as_string().is_not(None), 1), else_=0
)
_COMPLETE = (
    update(_TABLE)
    .where(_BATCH.id == bindparam("batch"))
    .values(
        outcomes=bindparam("given"),
        tally=bindparam("counted"),
        answered_at=bindparam("now"),
        attempts=_FAILED_ATTEMPTS,
        announced_at=func.coalesce(_BATCH.announced_at, bindparam("now")),
        waiting_since=func.coalesce(_BATCH.waiting_since, bindparam("now")),
    )
)
_MARK_DISPATCHED = (
    update(_TABLE)
    .where(_BATCH.submission_id == bindparam("its"), _BATCH.ordinal == bindparam("place"))
    .values(announced_at=bindparam("now"), waiting_since=bindparam("now"))
    .returning(_BATCH.id, _BATCH.lane, _BATCH.alone)
)


def complete(session: Session, answers: Sequence[CompletedBatch], *, now: datetime) -> None:
    """Keep the outcomes of claimed batches."""
    values = [
        {"batch": one.batch_id, "given": one.outcomes, "counted": one.tally, "now": now}
        for one in answers
    ]
    session.execute(_COMPLETE, values if len(values) > 1 else values[0])


def mark_dispatched(
    session: Session, submission_id: UUID, ordinal: int, *, now: datetime
) -> BatchRef | None:
    """It is the turn of a submission's batch; None where there is none with that ordinal."""
    given = {"its": submission_id, "place": ordinal, "now": now}
    row = session.execute(_MARK_DISPATCHED, given).first()
    return None if row is None else BatchRef(row[0], Lane(row[1]), row[2])


def cancel_from(session: Session, submission_id: UUID, ordinal: int, *, now: datetime) -> int:
    """Answer a submission's batches from an ordinal on as cancelled; returns their requests."""
    numbers = session.scalars(
        update(BatchRow)
        .where(BatchRow.submission_id == submission_id, BatchRow.ordinal >= ordinal)
        .values(outcomes=CANCELLED_AS_WHOLE, answered_at=now, attempts=_FAILED_ATTEMPTS)
        .returning(BatchRow.requests)
    )
    return sum(numbers)


def mark_redispatched(
    session: Session, *, before: datetime, now: datetime, limit: int
) -> list[BatchRef]:
    """Batches announced before a moment and still not answered; they count as announced now.

    Singles first, then who was announced longest ago, so that everybody has a turn.
    """
    overdue = (
        select(BatchRow.id)
        .where(
            BatchRow.answered_at.is_(None),
            BatchRow.announced_at.is_not(None),
            BatchRow.announced_at < before,
            BatchRow.parked_at.is_(None),
        )
        .order_by(
            case((BatchRow.lane == Lane.INTERACTIVE.value, 0), else_=1),
            BatchRow.announced_at,
            BatchRow.id,
        )
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = session.execute(
        update(BatchRow)
        .where(BatchRow.id.in_(overdue.scalar_subquery()))
        .values(announced_at=now, repeats=BatchRow.repeats + 1)
        .returning(BatchRow.id, BatchRow.lane, BatchRow.alone)
    )
    return sorted(BatchRef(row[0], Lane(row[1]), row[2]) for row in rows)


def completed_ids(session: Session, batch_ids: Collection[int]) -> set[int]:
    """Those of the batches that are answered."""
    rows = session.scalars(
        select(BatchRow.id).where(BatchRow.id.in_(batch_ids), BatchRow.answered_at.is_not(None))
    )
    return set(rows)


def find_result(session: Session, batch_id: int) -> BatchResult | None:
    """One batch with its outcomes, as far as it is answered."""
    row = session.execute(_results().where(BatchRow.id == batch_id)).first()
    return None if row is None else BatchResult(*row)


def list_results(
    session: Session, submission_id: UUID, *, from_ordinal: int, limit: int
) -> list[BatchResult]:
    """Batches of a submission in their order, from an ordinal on."""
    rows = session.execute(
        _results()
        .where(BatchRow.submission_id == submission_id, BatchRow.ordinal >= from_ordinal)
        .order_by(BatchRow.ordinal)
        .limit(limit)
    )
    return [BatchResult(*row) for row in rows]


_OUTCOMES = (
    select(_BATCH.outcomes)
    .where(
        _BATCH.submission_id == bindparam("its"),
        _BATCH.ordinal >= bindparam("place"),
        _BATCH.outcomes.is_not(None),
    )
    .order_by(_BATCH.ordinal)
    .limit(bindparam("most"))
)


def list_outcomes(
    session: Session, submission_id: UUID, from_ordinal: int, limit: int
) -> list[bytes]:
    """Outcomes of a submission's answered batches in their order, from an ordinal on."""
    given = {"its": submission_id, "place": from_ordinal, "most": limit}
    return list(session.scalars(_OUTCOMES, given))


_SUCCESSOR_PAYLOADS = (
    select(_BATCH.id, _BATCH.payload)
    .where(
        _BATCH.submission_id == bindparam("its"),
        _BATCH.ordinal > bindparam("place"),
        _BATCH.ordinal <= bindparam("last"),
        _BATCH.answered_at.is_(None),
    )
    .order_by(_BATCH.ordinal)
)


def successor_payloads(
    session: Session, submission_id: UUID, ordinal: int, number: int
) -> list[tuple[int, bytes]]:
    """Id and payload of the unanswered among so many batches of a submission behind one."""
    given = {"its": submission_id, "place": ordinal, "last": ordinal + number}
    return [(row[0], row[1]) for row in session.execute(_SUCCESSOR_PAYLOADS, given).all()]


def _results() -> Select[*tuple[Any, ...]]:
    return select(
        BatchRow.id,
        func.coalesce(BatchRow.ordinal, 0),
        BatchRow.requests,
        BatchRow.payload,
        BatchRow.outcomes,
        BatchRow.answered_at,
        BatchRow.tally,
    )


class Backlog(NamedTuple):
    """What waits: how many batches, since when the oldest, and how many are parked."""

    waiting: int
    oldest: datetime | None
    parked: int


def load_backlog(session: Session) -> Backlog:
    """What waits for workers, for the health check."""
    waiting = session.execute(
        select(func.count(), func.min(BatchRow.waiting_since)).where(
            BatchRow.answered_at.is_(None),
            BatchRow.announced_at.is_not(None),
            BatchRow.parked_at.is_(None),
        )
    ).one()
    parked = session.scalars(
        select(func.count()).where(
            BatchRow.answered_at.is_(None),
            BatchRow.announced_at.is_not(None),
            BatchRow.parked_at.is_not(None),
        )
    ).one()
    return Backlog(waiting[0], waiting[1], parked)
