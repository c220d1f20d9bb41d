"""Submissions: inserted, loaded, and updated with the tally of their outcomes.

`uploads` inserts files, `submission_views` lists submissions, `cancellation` cancels them,
`retention` deletes them.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Executable,
    Integer,
    SmallInteger,
    String,
    Text,
    bindparam,
    cast,
    insert,
    literal,
    select,
    type_coerce,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from enrollment.domain.codes import CallerKind, Kind, Lane
from enrollment.domain.errors import SubmissionNotFound
from enrollment.domain.submissions import (
    ProgressMark,
    Submission,
    SubmissionOptions,
    Tally,
    decode_files,
    decode_tally,
)
from enrollment.storage.bulk.array_params import ArrayTable, as_json, as_uuid, encode_json
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import BigSerial, SubmissionRow

_TABLE = SubmissionRow.metadata.tables[SubmissionRow.__tablename__]


class NewSingle(NamedTuple):
    """A single request to be inserted."""

    id: UUID
    caller: str
    caller_kind: CallerKind
    received_at: datetime
    request_id: str | None
    #: Names of members of its body that are not read.
    ignored: tuple[str, ...] = ()
    #: The context of its trace, if there is one.
    traceparent: str | None = None


_SINGLE_COLUMNS: Mapping[str, TypeEngine[Any]] = {
    "id": Text(),
    "caller": String(),
    "caller_kind": String(),
    "received_at": Text(),
    "request_id": String(),
}
#: Columns that are left out of the statement where no single has a value.
_RARE_COLUMNS: Mapping[str, TypeEngine[Any]] = {"ignored": Text(), "traceparent": String()}


@cache
def _new_singles(*rare: str) -> ArrayTable:
    return ArrayTable(
        "new_singles", **_SINGLE_COLUMNS, **{name: _RARE_COLUMNS[name] for name in rare}
    )


@cache
def _insert_singles(*rare: str, postgresql: bool) -> Executable:
    source = _new_singles(*rare).table(postgresql=postgresql)
    received_at: ColumnElement[Any] = source.c.received_at
    if postgresql:
        received_at = cast(received_at, DateTime(timezone=True))
    values = {
        "id": as_uuid(source.c.id, postgresql=postgresql),
        "caller": source.c.caller,
        "caller_kind": source.c.caller_kind,
        "received_at": received_at,
        "published_at": received_at,
        "request_id": source.c.request_id,
        "kind": literal(Kind.SINGLE.value, String()),
        "total": literal(1, Integer()),
        "batch_id": bindparam("batch", type_=BigSerial),
        "position": type_coerce(source.c.ordinality - 1, SmallInteger),
    }
    if "ignored" in rare:
        values["ignored_columns"] = as_json(source.c.ignored, postgresql=postgresql)
    if "traceparent" in rare:
        values["traceparent"] = source.c.traceparent
    return insert(_TABLE).from_select(list(values), select(*values.values()))


def insert_singles(session: Session, singles: Sequence[NewSingle], *, batch_id: int) -> None:
    """Inserts the singles of one batch, in the order of the batch, in one statement."""
    cells: list[list[Any]] = [
        [single.id.hex for single in singles],
        [single.caller for single in singles],
        [single.caller_kind.value for single in singles],
        [timestamp_text(single.received_at) for single in singles],
        [single.request_id for single in singles],
    ]
    rare = []
    if any(single.ignored for single in singles):
        rare.append("ignored")
        cells.append([encode_json(it.ignored) if it.ignored else None for it in singles])
    if any(single.traceparent for single in singles):
        rare.append("traceparent")
        cells.append([single.traceparent for single in singles])
    parameters = _new_singles(*rare).parameters(session, *cells)
    statement = _insert_singles(*rare, postgresql=is_postgresql(session))
    session.execute(statement, {**parameters, "batch": batch_id})


def timestamp_text(timestamp: datetime) -> str:
    """Formats a UTC timestamp as text that both databases can store."""
    return timestamp.strftime("%Y-%m-%d %H:%M:%S.%f")


#: The columns that `submission_of` reads.
SUBMISSION_COLUMNS = (
    _TABLE.c.id,
    _TABLE.c.kind,
    _TABLE.c.caller,
    _TABLE.c.caller_kind,
    _TABLE.c.received_at,
    _TABLE.c.total,
    _TABLE.c.tally,
    _TABLE.c.learners_created,
    _TABLE.c.lane,
    _TABLE.c.encoding,
    _TABLE.c.format,
    _TABLE.c.header,
    _TABLE.c.files,
    _TABLE.c.ignored_columns,
    _TABLE.c.options,
    _TABLE.c.intake,
    _TABLE.c.batch_id,
    _TABLE.c.position,
    _TABLE.c.started_at,
    _TABLE.c.finished_at,
    _TABLE.c.cancel_asked_at,
    _TABLE.c.published_at,
    _TABLE.c.request_id,
)


def submission_of(row: Any) -> Submission:
    """Returns the submission in a row of `SUBMISSION_COLUMNS`."""
    files, passed_over = decode_files(row.files)
    return Submission(
        id=row.id,
        kind=Kind(row.kind),
        caller=row.caller,
        caller_kind=CallerKind(row.caller_kind),
        received_at=row.received_at,
        total=row.total,
        tally=decode_tally(row.tally, row.learners_created),
        lane=Lane(row.lane or Lane.INTERACTIVE),
        encoding=row.encoding,
        format=row.format,
        header=row.header,
        files=files,
        passed_over=passed_over,
        ignored_columns=tuple(row.ignored_columns or ()),
        options=SubmissionOptions(**(row.options or {})),
        intake=row.intake,
        batch_id=row.batch_id,
        position=row.position,
        started_at=row.started_at,
        finished_at=row.finished_at,
        cancel_asked_at=row.cancel_asked_at,
        published=row.published_at is not None,
        request_id=row.request_id,
    )


_FIND = select(*SUBMISSION_COLUMNS).where(SubmissionRow.id == bindparam("wanted"))


def find(session: Session, submission_id: UUID) -> Submission | None:
    """Returns a submission, or None. The outcome of a single is stored with its batch."""
    row = session.execute(_FIND, {"wanted": submission_id}).first()
    return None if row is None else submission_of(row)


_FIND_OF_CALLER = _FIND.where(SubmissionRow.caller == bindparam("owner"))


def find_of_caller(session: Session, submission_id: UUID, caller: str) -> Submission | None:
    """Returns a submission of the caller, or None.

    The database compares the caller: to read the row of another caller takes longer than to read
    none, which would tell that the submission exists.
    """
    parameters = {"wanted": submission_id, "owner": caller}
    row = session.execute(_FIND_OF_CALLER, parameters).first()
    return None if row is None else submission_of(row)


def find_visible(session: Session, submission_id: UUID, caller: str | None) -> Submission:
    """Returns a submission that is complete, of the caller; `caller` None stands for any.

    Raises SubmissionNotFound.
    """
    if caller is None:
        submission = find(session, submission_id)
    else:
        submission = find_of_caller(session, submission_id, caller)
    if submission is None or not submission.published:
        raise SubmissionNotFound(str(submission_id))
    return submission


_IDS: ColumnElement[Any] = bindparam("ids", expanding=True)
_FIND_ALL = select(*SUBMISSION_COLUMNS).where(SubmissionRow.id.in_(_IDS))


def find_all(session: Session, ids: Collection[UUID]) -> dict[UUID, Submission]:
    """Returns the submissions that exist among the ids, in one statement."""
    if not ids:
        return {}
    rows = session.execute(_FIND_ALL, {"ids": list(ids)})
    return {row.id: submission_of(row) for row in rows}


_PROGRESS_MARKS = select(
    _TABLE.c.id, _TABLE.c.tally, _TABLE.c.finished_at, _TABLE.c.cancel_asked_at
).where(_TABLE.c.id.in_(_IDS))


def progress_marks(session: Session, ids: Collection[UUID]) -> dict[UUID, ProgressMark]:
    """Returns the progress of the files that exist among the ids, in one statement."""
    return {
        row.id: ProgressMark(
            decode_tally(row.tally).completed,
            row.finished_at is not None,
            row.cancel_asked_at is not None,
        )
        for row in session.execute(_PROGRESS_MARKS, {"ids": list(ids)})
    }


_UPDATE_TALLY = (
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("file"))
    .values(
        tally=bindparam("new_tally"),
        learners_created=bindparam("created"),
        started_at=bindparam("started"),
        finished_at=bindparam("finished"),
    )
)


def update_tally(
    session: Session,
    submission: Submission,
    tally: Tally,
    *,
    now: datetime,
    finished_at: datetime | None = None,
) -> None:
    """Stores the tally of a file after some of its batches completed, or all of them.

    `now` is when these batches were begun.
    """
    session.execute(
        _UPDATE_TALLY,
        {
            "file": submission.id,
            "new_tally": tally.as_json(),
            "created": tally.learners_created,
            "started": submission.started_at or now,
            "finished": finished_at,
        },
    )
