"""Submissions of files: inserted, published, and deleted if they were never published."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Executable,
    Integer,
    String,
    Text,
    cast,
    delete,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.orm import Session

from enrollment.domain.codes import CallerKind, Kind, Lane
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.domain.submissions import (
    ArchiveMember,
    PassedOverFile,
    SubmissionOptions,
    encode_files,
)
from enrollment.storage.bulk.array_params import ArrayTable, as_json, as_uuid, encode_json
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.submissions import timestamp_text
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
    passed_over: tuple[PassedOverFile, ...] = ()
    ignored_columns: tuple[str, ...] = ()
    #: Number of requests, and time of publication, if its batches are inserted at once.
    total: int = 0
    published_at: datetime | None = None
    #: The context of its trace, if there is one.
    traceparent: str | None = None


_NEW_BULKS = ArrayTable(
    "new_bulks",
    id=Text(),
    caller=String(),
    caller_kind=String(),
    received_at=Text(),
    published_at=Text(),
    total=Integer(),
    lane=String(),
    encoding=String(),
    format=String(),
    header=String(),
    files=Text(),
    ignored_columns=Text(),
    options=Text(),
    request_id=String(),
    traceparent=String(),
)


@cache
def _insert_bulks(*, postgresql: bool) -> Executable:
    source = _NEW_BULKS.table(postgresql=postgresql)
    values: dict[str, ColumnElement[Any]] = {
        name: source.c[name] for name in _NEW_BULKS.column_names
    }
    values["id"] = as_uuid(source.c.id, postgresql=postgresql)
    for name in ("files", "ignored_columns", "options"):
        values[name] = as_json(source.c[name], postgresql=postgresql)
    if postgresql:
        for name in ("received_at", "published_at"):
            values[name] = cast(source.c[name], DateTime(timezone=True))
    values["kind"] = literal(Kind.BULK.value, String())
    return insert(_TABLE).from_select(list(values), select(*values.values()))


def insert_bulks(session: Session, bulks: Sequence[NewBulk]) -> None:
    """Inserts the submissions of files in one statement; their batches are inserted afterwards."""
    parameters = _NEW_BULKS.parameters(
        session,
        [bulk.id.hex for bulk in bulks],
        [bulk.caller for bulk in bulks],
        [bulk.caller_kind.value for bulk in bulks],
        [timestamp_text(bulk.received_at) for bulk in bulks],
        [bulk.published_at and timestamp_text(bulk.published_at) for bulk in bulks],
        [bulk.total for bulk in bulks],
        [bulk.lane.value for bulk in bulks],
        [bulk.encoding for bulk in bulks],
        [bulk.format for bulk in bulks],
        [bulk.header for bulk in bulks],
        [_encoded_files(bulk) for bulk in bulks],
        [encode_json(bulk.ignored_columns) if bulk.ignored_columns else None for bulk in bulks],
        [encode_json(bulk.options.as_json()) for bulk in bulks],
        [bulk.request_id for bulk in bulks],
        [bulk.traceparent for bulk in bulks],
    )
    session.execute(_insert_bulks(postgresql=is_postgresql(session)), parameters)


def _encoded_files(bulk: NewBulk) -> str | None:
    files = encode_files(bulk.files, bulk.passed_over)
    return None if files is None else encode_json(files)


_INTAKE = ArrayTable("intake_of", id=Text(), number=BigInteger())


@cache
def _set_intake(*, postgresql: bool) -> Executable:
    source = _INTAKE.table(postgresql=postgresql)
    wanted = as_uuid(source.c.id, postgresql=postgresql)
    return update(_TABLE).where(_TABLE.c.id == wanted).values(intake=source.c.number)


def set_intake(session: Session, intake: Mapping[UUID, int]) -> None:
    """Stores the positions of files in the order of intake, which follow from their batches."""
    parameters = _INTAKE.parameters(session, [id_.hex for id_ in intake], list(intake.values()))
    session.execute(_set_intake(postgresql=is_postgresql(session)), parameters)


def publish(
    session: Session, submission_id: UUID, *, total: int, intake: int, files: Any, now: datetime
) -> None:
    """Publishes a file, with `files` of `encode_files`: accepted when this transaction commits.

    Raises DatabaseUnavailable if it was purged as abandoned meanwhile.
    """
    published = session.scalar(
        update(SubmissionRow)
        .where(
            SubmissionRow.id == submission_id,
            SubmissionRow.published_at.is_(None),
            SubmissionRow.finished_at.is_(None),  # else it is being deleted
        )
        .values(total=total, intake=intake, published_at=now, files=files)
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
