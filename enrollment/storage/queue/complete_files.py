"""Files whose batches are all inserted by the transaction that publishes them."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.storage.bulk.pipelining import scaled_timeout
from enrollment.storage.queue.batches import BatchRef, NewBatch
from enrollment.storage.tables import BatchRow

_TABLE = BatchRow.metadata.tables[BatchRow.__tablename__]
_INSERT = insert(_TABLE).returning(_TABLE.c.id, _TABLE.c.submission_id, _TABLE.c.ordinal)


class BatchesOfFile(NamedTuple):
    """All batches of one file, to be inserted together."""

    submission_id: UUID
    batches: Sequence[NewBatch]
    lane: Lane
    #: Whether they are processed by themselves.
    alone: bool


def insert_files(
    session: Session, files: Sequence[BatchesOfFile], *, now: datetime
) -> dict[UUID, BatchRef]:
    """Inserts all batches of files, the first of each marked as dispatched, in one statement.

    Returns the first batch of each file, by submission.
    """
    rows = [
        {
            "requests": batch.requests,
            "payload": batch.payload,
            "submission_id": file.submission_id,
            "ordinal": ordinal,
            "lane": file.lane.value,
            "alone": file.alone,
            "announced_at": None if ordinal else now,
            "waiting_since": None if ordinal else now,
        }
        for file in files
        for ordinal, batch in enumerate(file.batches)
    ]
    with scaled_timeout(session, len(rows)):
        inserted = session.execute(_INSERT, rows).all()
    first_ids = {row.submission_id: row.id for row in inserted if row.ordinal == 0}
    return {
        file.submission_id: BatchRef(first_ids[file.submission_id], file.lane, file.alone)
        for file in files
    }
