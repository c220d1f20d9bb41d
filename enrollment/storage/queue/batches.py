"""Batches: inserted, dispatched, completed, and read with their outcomes."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, bindparam, case, func, insert, select, update
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.domain.submissions import CANCELLED_AS_WHOLE
from enrollment.storage.bulk.pipelining import scaled_timeout
from enrollment.storage.event_ids import event_id
from enrollment.storage.tables import BatchRow


class NewBatch(NamedTuple):
    """Requests to be inserted as one batch."""

    requests: int
    payload: bytes


class CompletedBatch(NamedTuple):
    """The outcomes of a batch to be stored: the encoded outcomes, and their counts."""

    batch_id: int
    outcomes: bytes
    tally: dict[str, Any]


class BatchRef(NamedTuple):
    """A batch to be dispatched."""

    id: int
    lane: Lane
    #: Processed by itself: a worker that received another batch does not claim it.
    alone: bool = False
    #: The contexts of the traces of its submissions; none for a batch that was dispatched before.
    traceparents: tuple[str, ...] = ()

    @property
    def claims_lane(self) -> bool:
        """Whether the worker that receives it claims its whole lane, not only this batch."""
        return self.lane is Lane.INTERACTIVE and not self.alone


class BatchResult(NamedTuple):
    """A batch with its outcomes, which are None until it is completed."""

    id: int
    ordinal: int
    requests: int
    payload: bytes
    outcomes: bytes | None
    answered_at: datetime | None
    #: None until it is completed, and if it was cancelled.
    tally: Mapping[str, Any] | None


def intake_number(batch_id: int, position: int) -> int:
    """Returns the number of a request in the order of intake; composed as event ids are."""
    return event_id(batch_id, position)


#: Statements of every batch are built once, on the table: the mapper costs more than the rest.
_TABLE = BatchRow.metadata.tables[BatchRow.__tablename__]
_BATCH = _TABLE.c

_INSERT = insert(_TABLE)
_INSERT_ONE = _INSERT.returning(_BATCH.id)


def insert_batch_of_singles(session: Session, batch: NewBatch, *, now: datetime) -> int:
    """Inserts a batch of singles, marked as dispatched; returns its id."""
    row = {
        "requests": batch.requests,
        "payload": batch.payload,
        "lane": Lane.INTERACTIVE.value,
        "announced_at": now,
        "waiting_since": now,
    }
    batch_id: int = session.scalars(_INSERT_ONE, row).one()
    return batch_id


def insert_for_submission(
    session: Session,
    submission_id: UUID,
    first_ordinal: int,
    batches: Sequence[NewBatch],
    *,
    lane: Lane,
    alone: bool,
) -> None:
    """Inserts batches of a file in their order, not dispatched yet."""
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


#: Attempts without the one that completes the batch, which is still open if it was recorded.
_FAILED_ATTEMPTS = _BATCH.attempts - case(
    (_BATCH.suspicion["begun_at"].as_string().is_not(None), 1), else_=0
)
_COMPLETE = (
    update(_TABLE)
    .where(_BATCH.id == bindparam("batch"))
    .values(
        outcomes=bindparam("new_outcomes"),
        tally=bindparam("new_tally"),
        answered_at=bindparam("now"),
        attempts=_FAILED_ATTEMPTS,
        announced_at=func.coalesce(_BATCH.announced_at, bindparam("now")),
        waiting_since=func.coalesce(_BATCH.waiting_since, bindparam("now")),
    )
)
_MARK_DISPATCHED = (
    update(_TABLE)
    .where(_BATCH.submission_id == bindparam("file"), _BATCH.ordinal == bindparam("next"))
    .values(announced_at=bindparam("now"), waiting_since=bindparam("now"))
    .returning(_BATCH.id, _BATCH.lane, _BATCH.alone)
)


def complete(session: Session, completed: Sequence[CompletedBatch], *, now: datetime) -> None:
    """Stores the outcomes of claimed batches."""
    values = [
        {"batch": one.batch_id, "new_outcomes": one.outcomes, "new_tally": one.tally, "now": now}
        for one in completed
    ]
    session.execute(_COMPLETE, values if len(values) > 1 else values[0])


def mark_dispatched(
    session: Session, submission_id: UUID, ordinal: int, *, now: datetime
) -> BatchRef | None:
    """Marks a file's batch as dispatched; returns it, or None if there is none with the ordinal."""
    parameters = {"file": submission_id, "next": ordinal, "now": now}
    row = session.execute(_MARK_DISPATCHED, parameters).first()
    return None if row is None else BatchRef(row[0], Lane(row[1]), row[2])


def cancel_from(session: Session, submission_id: UUID, ordinal: int, *, now: datetime) -> int:
    """Completes a file's batches from an ordinal on as cancelled; returns their request count."""
    sizes = session.scalars(
        update(BatchRow)
        .where(BatchRow.submission_id == submission_id, BatchRow.ordinal >= ordinal)
        .values(outcomes=CANCELLED_AS_WHOLE, answered_at=now, attempts=_FAILED_ATTEMPTS)
        .returning(BatchRow.requests)
    )
    return sum(sizes)


def completed_ids(session: Session, batch_ids: Collection[int]) -> set[int]:
    """Returns the ids of those batches that are completed."""
    rows = session.scalars(
        select(BatchRow.id).where(BatchRow.id.in_(batch_ids), BatchRow.answered_at.is_not(None))
    )
    return set(rows)


def find_result(session: Session, batch_id: int) -> BatchResult | None:
    """Returns a batch with its outcomes, or None."""
    row = session.execute(_select_results().where(BatchRow.id == batch_id)).first()
    return None if row is None else BatchResult(*row)


def list_results(
    session: Session, submission_id: UUID, *, from_ordinal: int, limit: int
) -> list[BatchResult]:
    """Returns batches of a file in their order, from an ordinal on."""
    rows = session.execute(
        _select_results()
        .where(BatchRow.submission_id == submission_id, BatchRow.ordinal >= from_ordinal)
        .order_by(BatchRow.ordinal)
        .limit(limit)
    )
    return [BatchResult(*row) for row in rows]


_OUTCOMES = (
    select(_BATCH.outcomes)
    .where(
        _BATCH.submission_id == bindparam("file"),
        _BATCH.ordinal >= bindparam("first"),
        _BATCH.outcomes.is_not(None),
    )
    .order_by(_BATCH.ordinal)
    .limit(bindparam("limit"))
)


def list_outcomes(
    session: Session, submission_id: UUID, from_ordinal: int, limit: int
) -> list[bytes]:
    """Returns the outcomes of a file's completed batches in their order, from an ordinal on."""
    parameters = {"file": submission_id, "first": from_ordinal, "limit": limit}
    return list(session.scalars(_OUTCOMES, parameters))


_SUCCESSOR_PAYLOADS = (
    select(_BATCH.id, _BATCH.payload)
    .where(
        _BATCH.submission_id == bindparam("file"),
        _BATCH.ordinal > bindparam("previous"),
        _BATCH.ordinal <= bindparam("last"),
        _BATCH.answered_at.is_(None),
    )
    .order_by(_BATCH.ordinal)
)


def successor_payloads(
    session: Session, submission_id: UUID, ordinal: int, number: int
) -> list[tuple[int, bytes]]:
    """Returns id and payload of the uncompleted ones among a file's next `number` batches."""
    parameters = {"file": submission_id, "previous": ordinal, "last": ordinal + number}
    return [(row[0], row[1]) for row in session.execute(_SUCCESSOR_PAYLOADS, parameters).all()]


def _select_results() -> Select[*tuple[Any, ...]]:
    return select(
        BatchRow.id,
        func.coalesce(BatchRow.ordinal, 0),
        BatchRow.requests,
        BatchRow.payload,
        BatchRow.outcomes,
        BatchRow.answered_at,
        BatchRow.tally,
    )
