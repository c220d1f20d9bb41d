"""Throughput: rows that were completed lately, by slices of time."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from enrollment.domain.codes import Kind
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.tables import BatchRow, SubmissionRow

#: Bounds of one look: files, batches of a file, and batches of single requests.
MAX_FILES, MAX_FILE_BATCHES, MAX_SINGLE_BATCHES = 100, 3_000, 20_000
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

    The cost is bounded: each query begins in an index at what was completed last.
    """
    now = database_now(session)
    since = now - timedelta(seconds=slices * seconds)
    batches = _completed_singles(session, since)
    is_complete = len(batches) < MAX_SINGLE_BATCHES
    files = _find_files(session, since)
    for submission_id, following in files.items():
        found = _completed_of_file(session, submission_id, following, since)
        batches += found
        is_complete = is_complete and len(found) < MAX_FILE_BATCHES
    rows = _slices(batches, since, slices=slices, seconds=seconds)
    return Throughput(rows, seconds, now, is_complete and len(files) < MAX_FILES)


def _completed_singles(session: Session, since: datetime) -> list[CompletedRows]:
    query = (
        select(*_COMPLETED)
        .where(BatchRow.submission_id.is_(None), BatchRow.answered_at >= since)
        .order_by(BatchRow.answered_at.desc())
        .limit(MAX_SINGLE_BATCHES)
    )
    return [CompletedRows._make(row) for row in session.execute(query)]


def _find_files(session: Session, since: datetime) -> dict[UUID, int | None]:
    """Returns files with batches that were completed lately, and the ordinal that each is at."""
    waiting = (
        select(BatchRow.submission_id, BatchRow.ordinal)
        .where(
            BatchRow.submission_id.is_not(None),
            BatchRow.answered_at.is_(None),
            BatchRow.announced_at.is_not(None),
        )
        .limit(MAX_FILES)
    )
    files: dict[UUID, int | None] = {row[0]: row[1] for row in session.execute(waiting) if row[0]}
    finished = (
        select(SubmissionRow.id)
        .where(SubmissionRow.finished_at >= since, SubmissionRow.kind == Kind.BULK.value)
        .order_by(SubmissionRow.finished_at.desc())
        .limit(MAX_FILES - len(files))
    )
    return files | dict.fromkeys(session.scalars(finished))


def _completed_of_file(
    session: Session, submission_id: UUID, following: int | None, since: datetime
) -> list[CompletedRows]:
    """Returns the last batches of a file that were completed, before one of them or its end."""
    of_file = BatchRow.submission_id == submission_id
    if following is None:
        last = session.scalar(select(func.max(BatchRow.ordinal)).where(of_file))
        following = 0 if last is None else last + 1
    is_near = BatchRow.ordinal.between(following - MAX_FILE_BATCHES, following - 1)
    query = select(*_COMPLETED).where(of_file, is_near, BatchRow.answered_at >= since)
    return [CompletedRows._make(row) for row in session.execute(query)]


def _slices(
    batches: Iterable[CompletedRows], since: datetime, *, slices: int, seconds: int
) -> tuple[int, ...]:
    """Returns the rows of batches in each slice of time; those of a clock that is ahead last."""
    rows = [0] * slices
    for batch in batches:
        index = int((batch.at - since).total_seconds() // seconds)
        rows[min(index, slices - 1)] += batch.rows
    return tuple(rows)
