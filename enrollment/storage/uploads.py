"""Submissions of files: inserted, published, and deleted if they were never published."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, delete, insert, update
from sqlalchemy.orm import Session

from enrollment.domain.codes import CallerKind, Kind, Lane
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.domain.submissions import ArchiveMember, SubmissionOptions
from enrollment.storage.tables import SubmissionRow

_TABLE = SubmissionRow.metadata.tables[SubmissionRow.__tablename__]


class NewBulk(NamedTuple):
    """A file to be inserted; workers and callers do not see it before it is published."""

    id: UUID
    caller: str
    caller_kind: CallerKind
    received_at: datetime
    lane: Lane
    encoding: str
    format: str
    header: str | None
    options: SubmissionOptions
    request_id: str | None
    files: tuple[ArchiveMember, ...] = ()
    #: Number of requests, and time of publication, if its batches are inserted at once.
    total: int = 0
    published_at: datetime | None = None


def insert_bulks(session: Session, bulks: Sequence[NewBulk]) -> None:
    """Inserts the submissions of files in one statement; their batches are inserted afterwards."""
    session.execute(
        insert(_TABLE),
        [
            {
                "id": bulk.id,
                "kind": Kind.BULK.value,
                "caller": bulk.caller,
                "caller_kind": bulk.caller_kind.value,
                "received_at": bulk.received_at,
                "published_at": bulk.published_at,
                "total": bulk.total,
                "lane": bulk.lane.value,
                "encoding": bulk.encoding,
                "format": bulk.format,
                "header": bulk.header,
                "files": [list(member) for member in bulk.files] or None,
                "options": bulk.options.as_json(),
                "request_id": bulk.request_id,
            }
            for bulk in bulks
        ],
    )


_SET_INTAKE = (
    update(_TABLE).where(_TABLE.c.id == bindparam("file")).values(intake=bindparam("number"))
)


def set_intake(session: Session, intake: Mapping[UUID, int]) -> None:
    """Stores the positions of files in the order of intake, which follow from their batches."""
    rows = [{"file": submission_id, "number": number} for submission_id, number in intake.items()]
    session.execute(_SET_INTAKE, rows)


def publish(
    session: Session, submission_id: UUID, *, total: int, intake: int, now: datetime
) -> None:
    """Publishes a file: it is accepted when this transaction commits.

    Raises DatabaseUnavailable if it was purged as abandoned meanwhile.
    """
    published = session.scalar(
        update(SubmissionRow)
        .where(SubmissionRow.id == submission_id, SubmissionRow.published_at.is_(None))
        .values(total=total, intake=intake, published_at=now)
        .returning(SubmissionRow.id)
    )
    if published is None:
        message = "the upload was purged as abandoned before it was complete"
        raise DatabaseUnavailable(message)


def delete_unpublished(session: Session, submission_id: UUID) -> None:
    """Deletes a file that was never published, with its batches."""
    session.execute(
        delete(SubmissionRow).where(
            SubmissionRow.id == submission_id, SubmissionRow.published_at.is_(None)
        )
    )
