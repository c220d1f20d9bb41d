"""Every batch with its outcomes, and every submission, for an audit: in pages.

Outcomes and tallies come as they are kept; whether they can be read is for the audit to find.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, cast, false, func, select, text, tuple_
from sqlalchemy.orm import Session

from enrollment.domain.accounts import KeptBatch, KeptFile, Singles
from enrollment.storage.audit import LOWEST
from enrollment.storage.sessions import is_postgresql
from enrollment.storage.tables import Base

#: Rows of a page: a batch holds up to 1,000 requests, a head is small.
BATCHES = 100
HEADS = 1_000

_TABLES = Base.metadata.tables
_BATCH, _ENROLLMENT = _TABLES["batch"], _TABLES["enrollment"]
_FEED, _SUBMISSION = _TABLES["feed"], _TABLES["submission"]
_NO_ID = UUID(int=0)
_BATCHES = (
    select(
        _BATCH.c.id,
        cast(_BATCH.c.submission_id, Text),
        _BATCH.c.ordinal,
        _BATCH.c.requests,
        _BATCH.c.answered_at.is_not(None),
        _BATCH.c.parked_at.is_not(None),
        _BATCH.c.outcomes,
        _BATCH.c.tally,
        func.coalesce(_FEED.c.last - _FEED.c.first + 1, 0),
    )
    .outerjoin(_FEED, _FEED.c.batch_id == _BATCH.c.id)
    .limit(BATCHES)
)
_OF_FILES = _BATCHES.where(
    tuple_(_BATCH.c.submission_id, _BATCH.c.ordinal)
    > tuple_(bindparam("submission", type_=Uuid()), bindparam("ordinal"))
).order_by(_BATCH.c.submission_id, _BATCH.c.ordinal)
_OF_SINGLES = _BATCHES.where(
    _BATCH.c.submission_id.is_(None), _BATCH.c.id > bindparam("after")
).order_by(_BATCH.c.id)


def batches_of_files(session: Session) -> Iterator[KeptBatch]:
    """The batches of all files, file by file, each in order."""
    after: dict[str, Any] = {"submission": _NO_ID, "ordinal": -1}
    while rows := session.execute(_OF_FILES, after).all():
        yield from map(KeptBatch._make, rows)
        after = {"submission": UUID(rows[-1][1]), "ordinal": rows[-1][2]}


_FILES = (
    select(
        cast(_SUBMISSION.c.id, Text),
        _SUBMISSION.c.total,
        _SUBMISSION.c.tally,
        _SUBMISSION.c.published_at.is_not(None),
        _SUBMISSION.c.finished_at.is_not(None),
        _SUBMISSION.c.cancel_asked_at.is_not(None),
        _SUBMISSION.c.options["dry_run"].as_boolean(),
        # A line of theirs means many requests; any file of an archive may be of theirs.
        func.coalesce(_SUBMISSION.c.format == "moodle_users", false())
        | _SUBMISSION.c.files.is_not(None),
    )
    .where(_SUBMISSION.c.batch_id.is_(None), _SUBMISSION.c.id > bindparam("after", type_=Uuid()))
    .order_by(_SUBMISSION.c.id)
    .limit(HEADS)
)


def files(session: Session) -> Iterator[KeptFile]:
    """The heads of all files, in the same order."""
    after = _NO_ID
    while rows := session.execute(_FILES, {"after": after}).all():
        yield from map(KeptFile._make, rows)
        after = UUID(rows[-1][0])


def batches_of_singles(session: Session) -> Iterator[list[KeptBatch]]:
    """The batches of singles in order, in pages."""
    after: Any = LOWEST
    while rows := session.execute(_OF_SINGLES, {"after": after}).all():
        yield list(map(KeptBatch._make, rows))
        after = rows[-1][0]


_SINGLES = (
    select(
        _SUBMISSION.c.batch_id,
        func.count(),
        func.count(_SUBMISSION.c.position.distinct()),
        func.coalesce(func.min(_SUBMISSION.c.position), -1),
        func.coalesce(func.max(_SUBMISSION.c.position), -1),
    )
    .where(_SUBMISSION.c.batch_id > bindparam("after"))
    .group_by(_SUBMISSION.c.batch_id)
    .order_by(_SUBMISSION.c.batch_id)
    .limit(BATCHES)
)


def singles(session: Session) -> Iterator[Singles]:
    """The single submissions, summed up by the batch that they say they are in, in order."""
    after: Any = LOWEST
    while rows := session.execute(_SINGLES, {"after": after}).all():
        yield from map(Singles._make, rows)
        after = rows[-1][0]


_IN_FILES = select(func.coalesce(func.sum(_SUBMISSION.c.total), 0)).where(
    _SUBMISSION.c.batch_id.is_(None)
)
_ESTIMATE = text(
    "SELECT sum(greatest(reltuples, 0)) FROM pg_class"
    " WHERE oid IN ('enrollment'::regclass, 'submission'::regclass)"
)


def size(session: Session, events: int) -> int:
    """About how many rows an audit looks at: events, enrollments and requests.

    To count the singles and enrollments of PostgreSQL takes too long; it knows about how many.
    """
    if is_postgresql(session):
        others = session.scalar(_ESTIMATE) or 0
    else:
        tables = (_ENROLLMENT, _SUBMISSION)
        counts = (select(func.count()).select_from(table) for table in tables)
        others = sum(session.scalar(count) or 0 for count in counts)
    return int(events + (session.scalar(_IN_FILES) or 0) + others)
