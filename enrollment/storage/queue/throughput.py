"""Throughput: rows that were completed lately, by slices of time."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from enrollment.domain.codes import Kind
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.tables import BatchRow, SubmissionRow

#: Bounds of one look: files, batches before the one that a file is at, batches of all files
#: together, and batches of single requests.
MAX_FILES, MAX_NEAR_BATCHES, MAX_FILE_BATCHES, MAX_SINGLE_BATCHES = 100, 3_000, 20_000, 20_000
_COMPLETED = BatchRow.answered_at, BatchRow.requests


class CompletedRows(NamedTuple):
    """The time at which a batch was completed, and its number of rows."""

    at: datetime
    rows: int


class Throughput(NamedTuple):
    """Rows with an outcome in each slice of time, oldest first."""

    rows: tuple[int, ...]
    seconds: int
    #: The end of the last slice.
    until: datetime
    #: Whether nothing was left out: the bounds of a look are high, but a long time has more.
    is_complete: bool

    @property
    def rates(self) -> tuple[float, ...]:
        """Rows per second in each slice."""
        return tuple(rows / self.seconds for rows in self.rows)


def load_throughput(session: Session, *, slices: int, seconds: int) -> Throughput:
    """Counts the rows that were completed in the last slices of time.

    The cost is bounded, and the number of statements is always the same: each begins in an index at
    what was completed last.
    """
    now = database_now(session)
    since = now - timedelta(seconds=slices * seconds)
    batches = _completed_singles(session, since)
    is_complete = len(batches) < MAX_SINGLE_BATCHES
    running, finished = _find_files(session, since)
    of_files = _completed_of_files(session, running, finished, since)
    batches += of_files
    is_complete = is_complete and len(of_files) < MAX_FILE_BATCHES
    rows = _slices(batches, since, slices=slices, seconds=seconds)
    return Throughput(rows, seconds, now, is_complete and len(running) + len(finished) < MAX_FILES)


def _completed_singles(session: Session, since: datetime) -> list[CompletedRows]:
    query = (
        select(*_COMPLETED)
        .where(BatchRow.submission_id.is_(None), BatchRow.answered_at >= since)
        .order_by(BatchRow.answered_at.desc())
        .limit(MAX_SINGLE_BATCHES)
    )
    return [CompletedRows._make(row) for row in session.execute(query)]


def _find_files(session: Session, since: datetime) -> tuple[dict[UUID, int], list[UUID]]:
    """Returns running files with the ordinals that they are at, and those that ended lately."""
    waiting = (
        select(BatchRow.submission_id, BatchRow.ordinal)
        .where(
            BatchRow.submission_id.is_not(None),
            BatchRow.answered_at.is_(None),
            BatchRow.announced_at.is_not(None),
        )
        .limit(MAX_FILES)
    )
    running = {row[0]: row[1] or 0 for row in session.execute(waiting) if row[0]}
    finished = (
        select(SubmissionRow.id)
        .where(SubmissionRow.finished_at >= since, SubmissionRow.kind == Kind.BULK.value)
        .order_by(SubmissionRow.finished_at.desc())
        .limit(MAX_FILES - len(running))
    )
    return running, [one for one in session.scalars(finished) if one not in running]


def _completed_of_files(
    session: Session, running: Mapping[UUID, int], finished: Collection[UUID], since: datetime
) -> list[CompletedRows]:
    """Returns the batches of files that were completed lately, in one statement."""
    parts = [
        and_(
            BatchRow.submission_id == submission_id,
            BatchRow.ordinal.between(following - MAX_NEAR_BATCHES, following - 1),
        )
        for submission_id, following in running.items()
        if following
    ]
    if finished:
        parts.append(BatchRow.submission_id.in_(finished))
    if not parts:
        return []
    query = select(*_COMPLETED).where(or_(*parts), BatchRow.answered_at >= since)
    found = session.execute(query.limit(MAX_FILE_BATCHES))
    return [CompletedRows._make(row) for row in found]


def _slices(
    batches: Iterable[CompletedRows], since: datetime, *, slices: int, seconds: int
) -> tuple[int, ...]:
    """Returns the rows of batches in each slice of time; those of a clock that is ahead last."""
    rows = [0] * slices
    for batch in batches:
        index = int((batch.at - since).total_seconds() // seconds)
        rows[min(index, slices - 1)] += batch.rows
    return tuple(rows)
