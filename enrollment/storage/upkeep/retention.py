"""Deletion of what is no longer kept, in portions of a bounded number of rows.

A file may have thousands of batches. It is hidden first: without `published_at` no caller sees it,
and with `finished_at` it can no longer be published. Then its batches are deleted portion by
portion, and at last the file. Every function returns whether more may be left.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any
from uuid import UUID

from sqlalchemy import Update, delete, select, tuple_, update
from sqlalchemy.orm import Session

from enrollment.storage.tables import BatchRow, RecordStatesRow, SubmissionRow

#: Single requests that one portion deletes at most, if they are of several batches.
MAX_SINGLES = 2_000

_IS_HIDDEN = SubmissionRow.published_at.is_(None), SubmissionRow.finished_at.is_not(None)
_HIDDEN = select(SubmissionRow.id).where(*_IS_HIDDEN).order_by(SubmissionRow.received_at)


def hide_expired_files(session: Session, *, before: datetime, limit: int) -> bool:
    """Hides files that were finished before a time, unless hidden ones are still to be deleted."""
    expired = (
        select(SubmissionRow.id)
        .where(SubmissionRow.finished_at < before, SubmissionRow.published_at.is_not(None))
        .order_by(SubmissionRow.finished_at)
    )
    return _hide(session, expired, update(SubmissionRow).values(published_at=None), limit)


def hide_abandoned_uploads(
    session: Session, *, before: datetime, now: datetime, limit: int
) -> bool:
    """Hides uploads that began before a time and were never published; they no longer can be."""
    abandoned = (
        select(SubmissionRow.id)
        .where(
            SubmissionRow.published_at.is_(None),
            SubmissionRow.finished_at.is_(None),
            SubmissionRow.received_at < before,
        )
        .order_by(SubmissionRow.received_at)
        .with_for_update(skip_locked=True)
    )
    return _hide(session, abandoned, update(SubmissionRow).values(finished_at=now), limit)


def _hide(session: Session, query: Any, hide: Update, limit: int) -> bool:
    if session.scalar(_HIDDEN.limit(1)) is not None:
        return False
    ids = session.scalars(query.limit(limit)).all()
    session.execute(hide.where(SubmissionRow.id.in_(ids)))
    return bool(ids)


def delete_hidden_files(session: Session, *, limit: int) -> bool:
    """Deletes up to `limit` batches of up to `limit` hidden files, and as many states of records.

    Deletes files that have neither left.
    """
    ids = session.scalars(_HIDDEN.limit(limit)).all()
    if not ids:
        return False
    of_files = select(BatchRow.id).where(BatchRow.submission_id.in_(ids)).limit(limit)
    batch_ids = session.scalars(of_files).all()
    session.execute(delete(BatchRow).where(BatchRow.id.in_(batch_ids)))
    if len(batch_ids) < limit and not _delete_record_states(session, ids, limit):
        session.execute(delete(SubmissionRow).where(SubmissionRow.id.in_(ids)))
    return True


def _delete_record_states(session: Session, ids: Sequence[UUID], limit: int) -> bool:
    """Deletes up to `limit` rows; returns whether more may be left."""
    key = RecordStatesRow.submission_id, RecordStatesRow.ordinal
    of_files = select(*key).where(RecordStatesRow.submission_id.in_(ids)).limit(limit)
    found = [tuple(row) for row in session.execute(of_files)]
    session.execute(delete(RecordStatesRow).where(tuple_(*key).in_(found)))
    return len(found) == limit


def purge_singles(session: Session, *, before: datetime, limit: int) -> bool:
    """Deletes up to `limit` batches of singles completed before a time, and these singles."""
    old = session.execute(
        select(BatchRow.id, BatchRow.requests)
        .where(BatchRow.submission_id.is_(None), BatchRow.answered_at < before)
        .order_by(BatchRow.answered_at)
        .limit(limit)
    ).all()
    ids = _first_batches([(row[0], row[1]) for row in old])
    session.execute(delete(SubmissionRow).where(SubmissionRow.batch_id.in_(ids)))
    session.execute(delete(BatchRow).where(BatchRow.id.in_(ids)))
    return len(old) == limit or len(ids) < len(old)


def _first_batches(batches: Sequence[tuple[int, int]]) -> list[int]:
    """Returns the first batches (id, number of singles) up to `MAX_SINGLES`, but at least one."""
    sums = accumulate(number for _, number in batches)
    return [
        batch_id
        for at, ((batch_id, _), total) in enumerate(zip(batches, sums, strict=True))
        if at == 0 or total <= MAX_SINGLES
    ]
