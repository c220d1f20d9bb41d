"""Submissions: taken in, published, counted, cancelled, purged."""

from collections.abc import Collection, Sequence
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
    and_,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.orm import Session

from enrollment.domain.codes import CallerKind, Kind, Lane, State
from enrollment.domain.errors import RecordsUnavailable, SubmissionFinished, SubmissionNotFound
from enrollment.domain.submissions import Member, Options, ProgressMark, Submission, Tally, tally_of
from enrollment.storage.arrays import Columns, as_uuid
from enrollment.storage.sessions import is_postgresql
from enrollment.storage.tables import BatchRow, BigSerial, SubmissionRow


class NewSingle(NamedTuple):
    """A single request on its way into the records."""

    id: UUID
    caller: str
    caller_kind: CallerKind
    received_at: datetime
    request_id: str | None


class NewBulk(NamedTuple):
    """A file on its way into the records; invisible to workers until it is published."""

    id: UUID
    caller: str
    caller_kind: CallerKind
    received_at: datetime
    lane: Lane
    encoding: str
    format: str
    header: str | None
    options: Options
    request_id: str | None
    files: tuple[Member, ...] = ()


_TAKEN = Columns(
    "taken",
    id=Text(),
    caller=String(),
    caller_kind=String(),
    received_at=Text(),
    request_id=String(),
)


@cache
def _add_singles(*, postgresql: bool) -> Executable:
    source = _TAKEN.table(postgresql=postgresql)
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
    table = SubmissionRow.__table__
    return insert(table).from_select(list(values), select(*values.values()))  # type: ignore[arg-type]


def add_singles(session: Session, singles: Sequence[NewSingle], *, batch_id: int) -> None:
    """Store the singles of one batch, in the batch's order, in one statement."""
    given = _TAKEN.holding(
        session,
        [single.id.hex for single in singles],
        [single.caller for single in singles],
        [single.caller_kind.value for single in singles],
        [_stored(single.received_at) for single in singles],
        [single.request_id for single in singles],
    )
    statement = _add_singles(postgresql=is_postgresql(session))
    session.execute(statement, {**given, "batch": batch_id})


def _stored(moment: datetime) -> str:
    """The text form of a moment in UTC that both databases can store."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def open_bulk(session: Session, bulk: NewBulk) -> None:
    """Store the head of a file; its batches follow, and last it is published."""
    session.add(
        SubmissionRow(
            id=bulk.id,
            kind=Kind.BULK,
            caller=bulk.caller,
            caller_kind=bulk.caller_kind,
            received_at=bulk.received_at,
            total=0,
            lane=bulk.lane,
            encoding=bulk.encoding,
            format=bulk.format,
            header=bulk.header,
            files=[list(member) for member in bulk.files] or None,
            options=bulk.options.as_json(),
            request_id=bulk.request_id,
        )
    )
    session.flush()


def publish(
    session: Session, submission_id: UUID, *, total: int, intake: int, now: datetime
) -> None:
    """The file is complete: from this commit on it is accepted.

    Raises RecordsUnavailable where it was swept as abandoned meanwhile.
    """
    kept = session.scalar(
        update(SubmissionRow)
        .where(SubmissionRow.id == submission_id, SubmissionRow.published_at.is_(None))
        .values(total=total, intake=intake, published_at=now)
        .returning(SubmissionRow.id)
    )
    if kept is None:
        message = "the upload was swept while it came in"
        raise RecordsUnavailable(message)


def discard(session: Session, submission_id: UUID) -> None:
    """Forget a file that was never published, with its batches."""
    session.execute(
        delete(SubmissionRow).where(
            SubmissionRow.id == submission_id, SubmissionRow.published_at.is_(None)
        )
    )


_TABLE = SubmissionRow.metadata.tables[SubmissionRow.__tablename__]
_COLUMNS = (
    _TABLE.c.id,
    _TABLE.c.kind,
    _TABLE.c.caller,
    _TABLE.c.caller_kind,
    _TABLE.c.received_at,
    _TABLE.c.total,
    _TABLE.c.tally,
    _TABLE.c.lane,
    _TABLE.c.encoding,
    _TABLE.c.format,
    _TABLE.c.header,
    _TABLE.c.files,
    _TABLE.c.options,
    _TABLE.c.intake,
    _TABLE.c.batch_id,
    _TABLE.c.position,
    _TABLE.c.started_at,
    _TABLE.c.finished_at,
    _TABLE.c.cancel_asked_at,
    _TABLE.c.published_at,
)


def _submission(row: Any) -> Submission:
    return Submission(
        id=row.id,
        kind=Kind(row.kind),
        caller=row.caller,
        caller_kind=CallerKind(row.caller_kind),
        received_at=row.received_at,
        total=row.total,
        tally=tally_of(row.tally),
        lane=Lane(row.lane or Lane.INTERACTIVE),
        encoding=row.encoding,
        format=row.format,
        header=row.header,
        files=tuple(Member(*member) for member in row.files or ()),
        options=Options(**(row.options or {})),
        intake=row.intake,
        batch_id=row.batch_id,
        position=row.position,
        started_at=row.started_at,
        finished_at=row.finished_at,
        cancel_asked_at=row.cancel_asked_at,
        published=row.published_at is not None,
    )


_FIND = select(*_COLUMNS).where(SubmissionRow.id == bindparam("wanted"))


def find(session: Session, submission_id: UUID) -> Submission | None:
    """One submission. A single's outcome is with its batch."""
    row = session.execute(_FIND, {"wanted": submission_id}).first()
    return None if row is None else _submission(row)


_FIND_ALL = select(*_COLUMNS).where(SubmissionRow.id.in_(bindparam("ids", expanding=True)))


def find_all(session: Session, ids: Collection[UUID]) -> dict[UUID, Submission]:
    """The submissions that exist among the ids, in one statement."""
    if not ids:
        return {}
    rows = session.execute(_FIND_ALL, {"ids": list(ids)})
    return {row.id: _submission(row) for row in rows}


_MARKS = select(_TABLE.c.id, _TABLE.c.tally, _TABLE.c.finished_at, _TABLE.c.cancel_asked_at).where(
    _TABLE.c.id.in_(bindparam("ids", expanding=True))
)


def progress_marks(session: Session, ids: Collection[UUID]) -> dict[UUID, ProgressMark]:
    """How far bulks are, those that exist among the ids, in one statement."""
    return {
        row.id: ProgressMark(
            tally_of(row.tally).answered,
            row.finished_at is not None,
            row.cancel_asked_at is not None,
        )
        for row in session.execute(_MARKS, {"ids": list(ids)})
    }


class Place(NamedTuple):
    """Where a page of the listing ends."""

    received_at: datetime
    id: UUID


def page(
    session: Session,
    caller: str,
    *,
    states: Collection[State],
    after: Place | None,
    limit: int,
) -> list[Submission]:
    """The caller's submissions, newest first; in any of the states, if some are named.

    Singles carry the moment of their answer.
    """
    answered = select(BatchRow.answered_at).where(BatchRow.id == SubmissionRow.batch_id)
    finished = func.coalesce(SubmissionRow.finished_at, answered.scalar_subquery())
    columns = [
        finished.label("finished_at") if column is _TABLE.c.finished_at else column
        for column in _COLUMNS
    ]
    query = (
        select(*columns)
        .where(SubmissionRow.caller == caller, SubmissionRow.published_at.is_not(None))
        .order_by(SubmissionRow.received_at.desc(), SubmissionRow.id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(
            or_(
                SubmissionRow.received_at < after.received_at,
                and_(SubmissionRow.received_at == after.received_at, SubmissionRow.id < after.id),
            )
        )
    if states:
        query = query.where(or_(*(_in_state(state, finished) for state in sorted(states))))
    return [_submission(row) for row in session.execute(query)]


def _in_state(state: State, finished: ColumnElement[Any]) -> ColumnElement[bool]:
    cancelled = SubmissionRow.cancel_asked_at.is_not(None) & (
        SubmissionRow.kind.__eq__(Kind.SINGLE)
        | SubmissionRow.tally["cancelled"].as_integer().is_not(None)
    )
    conditions: dict[State, ColumnElement[bool]] = {
        State.QUEUED: finished.is_(None) & SubmissionRow.started_at.is_(None),
        State.RUNNING: finished.is_(None) & SubmissionRow.started_at.is_not(None),
        State.DONE: finished.is_not(None) & not_(cancelled),
        State.CANCELLED: finished.is_not(None) & cancelled,
    }
    return conditions[state]


_COUNT = (
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("its"))
    .values(
        tally=bindparam("counted"),
        started_at=bindparam("started"),
        finished_at=bindparam("finished"),
    )
)


def count(
    session: Session, submission: Submission, tally: Tally, *, finished: bool, now: datetime
) -> None:
    """Keep the tally of a bulk after one more of its batches."""
    session.execute(
        _COUNT,
        {
            "its": submission.id,
            "counted": tally.as_json(),
            "started": submission.started_at or now,
            "finished": now if finished else None,
        },
    )


def ask_cancel(
    session: Session, submission_id: UUID, caller: str | None, *, now: datetime
) -> Submission:
    """Ask that what is not answered yet be cancelled; ``caller`` None may cancel anybody's.

    The batch of a single is locked first: once this returns, no worker answers it otherwise.
    Raises SubmissionNotFound, SubmissionFinished.
    """
    submission = find(session, submission_id)
    if submission is None or not submission.published or caller not in {None, submission.caller}:
        raise SubmissionNotFound(str(submission_id))
    if submission.batch_id is not None:
        answered = session.scalars(
            select(BatchRow.answered_at).where(BatchRow.id == submission.batch_id).with_for_update()
        ).one()
        if answered is not None:
            raise SubmissionFinished(str(submission_id))
    asked = session.scalars(
        update(SubmissionRow)
        .where(SubmissionRow.id == submission_id, SubmissionRow.finished_at.is_(None))
        .values(cancel_asked_at=func.coalesce(SubmissionRow.cancel_asked_at, now))
        .returning(SubmissionRow.id)
    ).first()
    if asked is None:
        raise SubmissionFinished(str(submission_id))
    _unpark(session, submission)
    return submission


def _unpark(session: Session, submission: Submission) -> None:
    """Nothing of a cancelled submission is worked on, so what was parked can be answered."""
    its_batches = or_(BatchRow.submission_id == submission.id, BatchRow.id == submission.batch_id)
    session.execute(
        update(BatchRow)
        .where(its_batches, BatchRow.parked_at.is_not(None))
        .values(parked_at=None, suspicion=None, attempts=0)
        .execution_options(synchronize_session=False)
    )


_CANCELLED_SINGLES = select(_TABLE.c.id).where(
    _TABLE.c.batch_id.in_(bindparam("batches", expanding=True)),
    _TABLE.c.cancel_asked_at.is_not(None),
)


def cancelled_singles(session: Session, batch_ids: Collection[int]) -> set[UUID]:
    """Singles of the batches that are to be cancelled."""
    return set(session.scalars(_CANCELLED_SINGLES, {"batches": list(batch_ids)}))


def purge_broken_off(session: Session, *, before: datetime) -> None:
    """Delete what began to come in before the moment and was never published."""
    broken_off = SubmissionRow.published_at.is_(None), SubmissionRow.received_at < before
    session.execute(delete(SubmissionRow).where(*broken_off))


def purge_bulks(session: Session, *, before: datetime, limit: int) -> int:
    """Delete a few bulks that were finished before the moment, with their batches; how many."""
    old = select(SubmissionRow.id).where(SubmissionRow.finished_at < before).limit(limit)
    ids = session.scalars(old).all()
    session.execute(delete(SubmissionRow).where(SubmissionRow.id.in_(ids)))
    return len(ids)


def purge_singles(session: Session, *, before: datetime, limit: int) -> int:
    """Delete a few batches of singles that were answered before the moment; how many."""
    old = (
        select(BatchRow.id)
        .where(BatchRow.submission_id.is_(None), BatchRow.answered_at < before)
        .order_by(BatchRow.answered_at)
        .limit(limit)
    )
    ids = session.scalars(old).all()
    session.execute(delete(SubmissionRow).where(SubmissionRow.batch_id.in_(ids)))
    session.execute(delete(BatchRow).where(BatchRow.id.in_(ids)))
    return len(ids)
