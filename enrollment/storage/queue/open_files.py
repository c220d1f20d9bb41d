"""Files that are not processed completely: each has one batch that waits."""

from uuid import UUID

from sqlalchemy import Select, bindparam, select, union_all
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane
from enrollment.domain.submissions import decode_tally
from enrollment.storage.tables import BatchRow, SubmissionRow

#: Maximum number of waiting batches of a lane that are looked at, the oldest ones.
MAX_BATCHES = 10_000


def _waiting(lane: Lane) -> Select[UUID | None]:
    """Selects the oldest waiting batches of a lane, from `ix_batch_waiting`."""
    oldest = (
        select(BatchRow.submission_id)
        .where(
            BatchRow.lane == lane.value,
            BatchRow.answered_at.is_(None),
            BatchRow.announced_at.is_not(None),
        )
        .order_by(BatchRow.waiting_since, BatchRow.id)
        .limit(MAX_BATCHES)
        .subquery()
    )
    return select(oldest.c.submission_id)


_waiting_files = union_all(*map(_waiting, Lane)).subquery()
_PENDING = (
    select(SubmissionRow.total, SubmissionRow.tally)
    .join(_waiting_files, SubmissionRow.id == _waiting_files.c.submission_id)
    .where(SubmissionRow.caller == bindparam("caller"))
)


def count_pending_rows(session: Session, caller: str) -> int:
    """Returns the number of rows of a caller's files that have no outcome yet.

    Files behind the oldest `MAX_BATCHES` waiting batches of their lane are not counted, so that the
    query is bounded.
    """
    rows = session.execute(_PENDING, {"caller": caller})
    return sum(row.total - decode_tally(row.tally).completed for row in rows)
