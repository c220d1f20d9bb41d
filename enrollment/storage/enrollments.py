"""Enrollments: loaded in sets before a batch is processed, written in sets after."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    Executable,
    Integer,
    Select,
    String,
    Text,
    bindparam,
    select,
)
from sqlalchemy.orm import Session

from enrollment.domain.errors import Conflict
from enrollment.domain.model import Attribute, Enrollment, WritePrecedence
from enrollment.storage.bulk.array_params import (
    NO_ROWS,
    ArrayTable,
    RenderedRows,
    as_json,
    encode_json,
    insert_on,
)
from enrollment.storage.bulk.pipelining import Statement, pipelined
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.error_mapping import unique_violation_as_conflict
from enrollment.storage.tables import BigSerial, EnrollmentRow, UtcTimestamp

#: (row of the learner, row of the course).
RowKey = tuple[int, int]


class LoadedEnrollment(NamedTuple):
    """An enrollment, with the version and the event that its next write builds on."""

    enrollment: Enrollment
    version: int
    event_id: int


#: The version of an enrollment that was never written before.
FIRST_VERSION = 1


class EnrollmentWrite(NamedTuple):
    """An enrollment to be written; `version` is the loaded one plus 1, or `FIRST_VERSION`."""

    key: RowKey
    enrollment: Enrollment
    version: int
    event_id: int


#: Statements of every batch are built on the table: the mapper costs more than the rest.
_ENROLLMENTS = EnrollmentRow.metadata.tables[EnrollmentRow.__tablename__]
_ENROLLMENT = _ENROLLMENTS.c
#: The columns that `decode_enrollment` reads.
STATE_COLUMNS = (
    _ENROLLMENT.mode,
    _ENROLLMENT.is_active,
    _ENROLLMENT.created,
    _ENROLLMENT.active_at,
    _ENROLLMENT.active_rank,
    _ENROLLMENT.active_line,
    _ENROLLMENT.mode_at,
    _ENROLLMENT.mode_rank,
    _ENROLLMENT.mode_line,
    _ENROLLMENT.extras,
)


_KEYS = ArrayTable("wanted", learner_id=BigSerial, course_id=Integer())


@cache
def _find_many(*, postgresql: bool) -> Select[*tuple[Any, ...]]:
    wanted = _KEYS.table(postgresql=postgresql)
    return select(
        _ENROLLMENT.learner_id,
        _ENROLLMENT.course_id,
        _ENROLLMENT.version,
        _ENROLLMENT.event_id,
        *STATE_COLUMNS,
    ).join(
        wanted,
        (_ENROLLMENT.learner_id == wanted.c.learner_id)
        & (_ENROLLMENT.course_id == wanted.c.course_id),
    )


@cache
def _lock_many() -> Select[*tuple[Any, ...]]:
    ordered = _find_many(postgresql=True).order_by(_ENROLLMENT.learner_id, _ENROLLMENT.course_id)
    return ordered.with_for_update(key_share=True, of=_ENROLLMENTS)


def find_many(
    session: Session, keys: Collection[RowKey], *, lock: bool = False
) -> dict[RowKey, LoadedEnrollment]:
    """Returns the enrollments that exist among the keys, in one statement.

    With `lock` their rows are locked, in the order in which they are written. SQLite has a single
    writer anyway.
    """
    if not keys:
        return {}
    parameters = _KEYS.parameters(session, *zip(*keys, strict=True))
    postgresql = is_postgresql(session)
    query = _lock_many() if lock and postgresql else _find_many(postgresql=postgresql)
    rows = session.execute(query, parameters)
    return {
        (row[0], row[1]): LoadedEnrollment(decode_enrollment(row[4:]), row[2], row[3])
        for row in map(tuple, rows.all())
    }


_WRITTEN = ArrayTable(
    "written",
    learner_id=BigSerial,
    course_id=Integer(),
    mode=String(),
    is_active=Boolean(),
    version=Integer(),
    event_id=BigSerial,
    active_at=BigSerial,
    active_rank=BigSerial,
    active_line=Integer(),
    mode_at=BigSerial,
    mode_rank=BigSerial,
    mode_line=Integer(),
    extras=Text(),
)


def _insert_from_select(*, postgresql: bool) -> Any:
    source = _WRITTEN.table(postgresql=postgresql)
    names = _WRITTEN.column_names
    values = [
        as_json(source.c[name], postgresql=postgresql) if name == "extras" else source.c[name]
        for name in names
    ]
    now = bindparam("now", type_=UtcTimestamp())
    insert = insert_on(postgresql=postgresql)(_ENROLLMENTS)
    return insert.from_select(
        [*names, "created"], select(*values, now).order_by(source.c.ordinality)
    ).execution_options(preserve_rowcount=True)


@cache
def _insert(*, postgresql: bool) -> Executable:
    insert: Executable = _insert_from_select(postgresql=postgresql)
    return insert


@cache
def _update(*, postgresql: bool) -> Executable:
    """Updates existing rows by an upsert, which always uses the key, unlike a planned join.

    A missing row would be inserted; but nothing deletes enrollments.
    """
    insert = _insert_from_select(postgresql=postgresql)
    changed = [name for name in _WRITTEN.column_names if name not in {"learner_id", "course_id"}]
    update: Executable = insert.on_conflict_do_update(
        index_elements=["learner_id", "course_id"],
        set_={name: insert.excluded[name] for name in changed},
        where=_ENROLLMENT.version == insert.excluded.version - 1,
    )
    return update


class EnrollmentWrites(NamedTuple):
    """Enrollments as statement parameters: those to be inserted, and those to be updated."""

    new: RenderedRows
    existing: RenderedRows


def render_writes(
    session: Session, writes: Sequence[EnrollmentWrite], *, now: datetime
) -> EnrollmentWrites:
    """Converts enrollments to statement parameters; sends nothing to the database."""
    ordered = sorted(writes, key=itemgetter(0))
    return EnrollmentWrites(
        _render(session, [write for write in ordered if write.version == FIRST_VERSION], now),
        _render(session, [write for write in ordered if write.version > FIRST_VERSION], now),
    )


def _render(session: Session, writes: Sequence[EnrollmentWrite], now: datetime) -> RenderedRows:
    if not writes:
        return NO_ROWS
    return RenderedRows(
        len(writes), {**_WRITTEN.parameters(session, *_columns(writes)), "now": now}
    )


@contextmanager
def write_pipelined(session: Session, writes: EnrollmentWrites) -> Iterator[None]:
    """Inserts the new ones, then updates the others, each guarded by its version.

    The block runs meanwhile and must not use the session. Raises Conflict if another transaction
    wrote one of them since it was loaded: then the transaction must roll back.
    """
    postgresql = is_postgresql(session)
    both = (
        (_insert(postgresql=postgresql), writes.new),
        (_update(postgresql=postgresql), writes.existing),
    )
    statements = [Statement(query, rows.parameters) for query, rows in both if rows.rows]
    with unique_violation_as_conflict(), pipelined(session, *statements) as results:
        yield
    expected = writes.new.rows + writes.existing.rows
    written = sum(result.count for result in results)
    if written != expected:
        message = f"{expected} enrollments to write, {written} written"
        raise Conflict(message)


def _columns(writes: Sequence[EnrollmentWrite]) -> list[Sequence[Any]]:
    """Returns the cells of writes, column by column."""
    keys, states, versions, events = zip(*writes, strict=True)
    learners, courses = zip(*keys, strict=True)
    active = zip(*[state.activity_precedence for state in states], strict=True)
    modes = zip(*[state.mode_precedence or (None, None, None) for state in states], strict=True)
    return [
        learners,
        courses,
        [state.mode for state in states],
        [state.is_active for state in states],
        versions,
        events,
        *active,
        *modes,
        [_extras(state) for state in states],
    ]


def _extras(state: Enrollment) -> str | None:
    if state.attributes_precedence is None and state.cohort_precedence is None:
        return None
    members = {
        "attributes": state.attributes,
        "attributes_clock": state.attributes_precedence,
        "cohort": state.cohort,
        "cohort_clock": state.cohort_precedence,
    }
    return encode_json(members)


def decode_enrollment(cells: Sequence[Any]) -> Enrollment:
    """Returns the enrollment in the cells of `STATE_COLUMNS`."""
    mode, is_active, created = cells[:3]
    activity, stated, extras = WritePrecedence(*cells[3:6]), cells[6:9], cells[9]
    mode_precedence = None if stated[0] is None else WritePrecedence(*stated)
    if extras is None:
        return Enrollment(mode, is_active, created, activity, mode_precedence)
    return Enrollment(
        mode,
        is_active,
        created,
        activity,
        mode_precedence,
        tuple(Attribute(*attribute) for attribute in extras["attributes"]),
        _decode_precedence(extras["attributes_clock"]),
        extras["cohort"],
        _decode_precedence(extras["cohort_clock"]),
    )


def _decode_precedence(stored: Sequence[int] | None) -> WritePrecedence | None:
    return None if stored is None else WritePrecedence(*stored)
