"""Audit queries: all submissions, and all batches with their outcomes, page by page.

Outcomes and tallies are returned as stored; the audit checks whether they can be decoded.
"""

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, cast, false, func, select, text, tuple_
from sqlalchemy.orm import Session

from enrollment.domain.audit.outcomes import BatchRecord, BatchSingles, FileRecord
from enrollment.storage.audit.events import LOWEST, pages
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import Base

#: Rows per page: a batch holds up to 1,000 requests, a submission is small.
PAGE_BATCHES = 100
PAGE_SUBMISSIONS = 1_000

_TABLES = Base.metadata.tables
_BATCH, _ENROLLMENT = _TABLES["batch"], _TABLES["enrollment"]
_FEED, _SUBMISSION = _TABLES["feed"], _TABLES["submission"]
_LOWEST_ID = UUID(int=0)
_BATCHES = (
    select(
        _BATCH.c.id,
        cast(_BATCH.c.submission_id, Text).label("submission"),
        _BATCH.c.ordinal,
        _BATCH.c.requests,
        _BATCH.c.answered_at.is_not(None),
        _BATCH.c.parked_at.is_not(None),
        _BATCH.c.outcomes,
        _BATCH.c.tally,
        func.coalesce(_FEED.c.last - _FEED.c.first + 1, 0),
    )
    .outerjoin(_FEED, _FEED.c.batch_id == _BATCH.c.id)
    .limit(PAGE_BATCHES)
)
_OF_FILES = _BATCHES.where(
    tuple_(_BATCH.c.submission_id, _BATCH.c.ordinal)
    > tuple_(bindparam("submission", type_=Uuid()), bindparam("ordinal"))
).order_by(_BATCH.c.submission_id, _BATCH.c.ordinal)
_OF_SINGLES = _BATCHES.where(
    _BATCH.c.submission_id.is_(None), _BATCH.c.id > bindparam("id")
).order_by(_BATCH.c.id)


def iterate_file_batches(session: Session) -> Iterator[BatchRecord]:
    """Yields the batches of all files, ordered by submission and ordinal."""
    for rows in pages(session, _OF_FILES, submission=_LOWEST_ID, ordinal=-1):
        yield from map(BatchRecord._make, rows)


def iterate_singles_batches(session: Session) -> Iterator[BatchRecord]:
    """Yields the batches of singles in the order of their ids."""
    for rows in pages(session, _OF_SINGLES, id=LOWEST):
        yield from map(BatchRecord._make, rows)


_FILES = (
    select(
        cast(_SUBMISSION.c.id, Text).label("submission"),
        _SUBMISSION.c.total,
        _SUBMISSION.c.tally,
        _SUBMISSION.c.published_at.is_not(None),
        _SUBMISSION.c.finished_at.is_not(None),
        _SUBMISSION.c.cancel_asked_at.is_not(None),
        _SUBMISSION.c.options["dry_run"].as_boolean(),
        # One line of this format means many requests; any file of an archive may have the format.
        func.coalesce(_SUBMISSION.c.format == "moodle_users", false())
        | _SUBMISSION.c.files.is_not(None),
        # It was complete once, or no worker saw it.
        _SUBMISSION.c.published_at.is_(None)
        & _SUBMISSION.c.finished_at.is_not(None)
        & (_SUBMISSION.c.intake.is_not(None) | _SUBMISSION.c.started_at.is_(None)),
    )
    .where(
        _SUBMISSION.c.batch_id.is_(None), _SUBMISSION.c.id > bindparam("submission", type_=Uuid())
    )
    .order_by(_SUBMISSION.c.id)
    .limit(PAGE_SUBMISSIONS)
)


def iterate_files(session: Session) -> Iterator[FileRecord]:
    """Yields the submissions of all files in the order of their ids."""
    for rows in pages(session, _FILES, submission=_LOWEST_ID):
        yield from map(FileRecord._make, rows)


_SINGLES = (
    select(
        _SUBMISSION.c.batch_id,
        func.count(),
        func.count(_SUBMISSION.c.position.distinct()),
        func.coalesce(func.min(_SUBMISSION.c.position), -1),
        func.coalesce(func.max(_SUBMISSION.c.position), -1),
    )
    .where(_SUBMISSION.c.batch_id > bindparam("batch_id"))
    .group_by(_SUBMISSION.c.batch_id)
    .order_by(_SUBMISSION.c.batch_id)
    .limit(PAGE_BATCHES)
)


def iterate_singles(session: Session) -> Iterator[BatchSingles]:
    """Yields for each batch of singles a summary of its submissions, in the order of batch ids."""
    for rows in pages(session, _SINGLES, batch_id=LOWEST):
        yield from map(BatchSingles._make, rows)


_IN_FILES = select(func.coalesce(func.sum(_SUBMISSION.c.total), 0)).where(
    _SUBMISSION.c.batch_id.is_(None)
)
_ESTIMATE = text(
    "SELECT sum(greatest(reltuples, 0)) FROM pg_class"
    " WHERE oid IN ('enrollment'::regclass, 'submission'::regclass)"
)


def estimate_rows(session: Session, events: int) -> int:
    """Returns about how many rows an audit reads: events, enrollments and requests.

    Singles and enrollments are estimated on PostgreSQL, where counting them takes too long.
    """
    if is_postgresql(session):
        others = session.scalar(_ESTIMATE) or 0
    else:
        tables = (_ENROLLMENT, _SUBMISSION)
        counts = (select(func.count()).select_from(table) for table in tables)
        others = sum(session.scalar(count) or 0 for count in counts)
    return int(events + (session.scalar(_IN_FILES) or 0) + others)
