"""States of the records of a file, stored for each batch of a file that ends records."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from enrollment.storage.tables import RecordStatesRow


class BatchRecordStates(NamedTuple):
    """The encoded states of the records of one batch."""

    ordinal: int
    states: bytes


def insert_all(session: Session, submission_id: UUID, batches: Sequence[BatchRecordStates]) -> None:
    """Inserts the states of batches of a file."""
    rows = [{"submission_id": submission_id, **batch._asdict()} for batch in batches]
    if rows:
        session.execute(insert(RecordStatesRow), rows)


def list_after(
    session: Session, submission_id: UUID, ordinal: int, *, limit: int
) -> list[BatchRecordStates]:
    """Returns the states of batches of a file in their order, of those behind an ordinal."""
    rows = session.execute(
        select(RecordStatesRow.ordinal, RecordStatesRow.states)
        .where(RecordStatesRow.submission_id == submission_id, RecordStatesRow.ordinal > ordinal)
        .order_by(RecordStatesRow.ordinal)
        .limit(limit)
    )
    return [BatchRecordStates(*row) for row in rows]
