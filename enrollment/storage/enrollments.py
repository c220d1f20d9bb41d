"""Enrollments: read set-wise before a batch is judged, written set-wise after."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Executable,
    Integer,
    Select,
    String,
    Text,
    bindparam,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.orm import Session

from enrollment.domain.errors import Conflict
from enrollment.domain.model import EPOCH, Attribute, Clock, Enrollment
from enrollment.storage.arrays import NO_ROWS, Columns, Rendered, as_json, encoded, insert_on
from enrollment.storage.sending import sending
from enrollment.storage.sessions import is_postgresql
from enrollment.storage.tables import BigSerial, CourseRow, EnrollmentRow, LearnerRow, Moment

#: (row of the learner, row of the course).
RowKey = tuple[int, int]


class LoadedEnrollment(NamedTuple):
    """An enrollment with what guards and chains its next write."""

    enrollment: Enrollment
    version: int
    event_id: int


class EnrollmentWrite(NamedTuple):
    """An enrollment as it is to be; ``version`` is one above what was loaded."""

    key: RowKey
    enrollment: Enrollment
    version: int
    event_id: int


class Listed(NamedTuple):
    """An enrollment as readers see it."""

    username: str
    course_id: str
    enrollment: Enrollment


#: What is executed for every batch is built on the table: the mapper costs more than the rest.
_ENROLLMENTS = EnrollmentRow.metadata.tables[EnrollmentRow.__tablename__]
_ENROLLMENT = _ENROLLMENTS.c
_STATE = (
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


_KEYS = Columns("wanted", learner_id=BigSerial, course_id=Integer())


@cache
def _standing(*, postgresql: bool) -> Select[*tuple[Any, ...]]:
    wanted = _KEYS.table(postgresql=postgresql)
    return select(
        _ENROLLMENT.learner_id,
        _ENROLLMENT.course_id,
        _ENROLLMENT.version,
        _ENROLLMENT.event_id,
        *_STATE,
    ).join(
        wanted,
        (_ENROLLMENT.learner_id == wanted.c.learner_id)
        & (_ENROLLMENT.course_id == wanted.c.course_id),
    )


def standing(session: Session, keys: Collection[RowKey]) -> dict[RowKey, LoadedEnrollment]:
    """The enrollments that exist among the keys, in one statement."""
    if not keys:
        return {}
    given = _KEYS.holding(session, *zip(*keys, strict=True))
    rows = session.execute(_standing(postgresql=is_postgresql(session)), given)
    return {
        (row[0], row[1]): LoadedEnrollment(_enrollment(row[4:]), row[2], row[3])
        for row in map(tuple, rows.all())
    }


_WRITTEN = Columns(
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


@cache
def _upsert(*, postgresql: bool) -> Executable:
    source = _WRITTEN.table(postgresql=postgresql)
    kept = _WRITTEN.labels
    values = [
        as_json(source.c[name], postgresql=postgresql) if name == "extras" else source.c[name]
        for name in kept
    ]
    now = bindparam("now", type_=Moment())
    insert = insert_on(postgresql=postgresql)(_ENROLLMENTS)
    statement = insert.from_select(
        [*kept, "created"], select(*values, now).order_by(source.c.ordinality)
    )
    changed = [name for name in kept if name not in {"learner_id", "course_id"}]
    upsert: Executable = statement.on_conflict_do_update(
        index_elements=["learner_id", "course_id"],
        set_={name: statement.excluded[name] for name in changed},
        where=_ENROLLMENT.version == statement.excluded.version - 1,
    ).execution_options(preserve_rowcount=True)
    return upsert


def rendered(session: Session, writes: Sequence[EnrollmentWrite], *, now: datetime) -> Rendered:
    """Enrollments as they are written; asks the database for nothing."""
    if not writes:
        return NO_ROWS
    given = _WRITTEN.holding(session, *_columns(sorted(writes, key=itemgetter(0))))
    return Rendered(len(writes), {**given, "now": now})


@contextmanager
def writing(session: Session, writes: Rendered) -> Iterator[None]:
    """Insert or update enrollments in one statement, each guarded by its version.

    Something else that needs no session is done meanwhile. Raises Conflict after it if somebody
    else wrote one of them since it was loaded: then nothing of this transaction may stay.
    """
    if not writes.rows:
        yield
        return
    upsert = _upsert(postgresql=is_postgresql(session))
    with sending(session, upsert, writes.given) as done:
        yield
    if done.count != writes.rows:
        message = f"{writes.rows} enrollments to write, {done.count} written"
        raise Conflict(message)


def _columns(writes: Sequence[EnrollmentWrite]) -> list[Sequence[Any]]:
    """The cells of writes, column by column."""
    keys, states, versions, events = zip(*writes, strict=True)
    learners, courses = zip(*keys, strict=True)
    active = zip(*[state.activity_clock for state in states], strict=True)
    modes = zip(*[state.mode_clock or (None, None, None) for state in states], strict=True)
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
    if state.attributes_clock is None and state.cohort_clock is None:
        return None
    kept = {
        "attributes": state.attributes,
        "attributes_clock": state.attributes_clock,
        "cohort": state.cohort,
        "cohort_clock": state.cohort_clock,
    }
    return encoded(kept)


def _enrollment(cells: Sequence[Any]) -> Enrollment:
    mode, is_active, created = cells[:3]
    active, stated, extras = Clock(*cells[3:6]), cells[6:9], cells[9]
    mode_clock = None if stated[0] is None else Clock(*stated)
    if extras is None:
        return Enrollment(mode, is_active, created, active, mode_clock)
    return Enrollment(
        mode,
        is_active,
        created,
        active,
        mode_clock,
        tuple(Attribute(*attribute) for attribute in extras["attributes"]),
        _clock(extras["attributes_clock"]),
        extras["cohort"],
        _clock(extras["cohort_clock"]),
    )


def _clock(kept: Sequence[int] | None) -> Clock | None:
    return None if kept is None else Clock(*kept)


def _listing() -> Select[Any]:
    return (
        select(LearnerRow.username, CourseRow.course_id, *_STATE)
        .join(LearnerRow, LearnerRow.id == EnrollmentRow.learner_id)
        .join(CourseRow, CourseRow.id == EnrollmentRow.course_id)
    )


def _listed(row: Sequence[Any]) -> Listed:
    return Listed(row[0], row[1], _enrollment(row[2:]))


_FIND = _listing().where(
    LearnerRow.username == bindparam("username"), CourseRow.course_id == bindparam("course_id")
)


def find(session: Session, username: str, course_id: str) -> Listed | None:
    """One enrollment, active or not."""
    row = session.execute(_FIND, {"username": username, "course_id": course_id}).first()
    return None if row is None else _listed(row)


def active_of(session: Session, username: str) -> list[Listed]:
    """The learner's active enrollments, oldest first."""
    rows = session.execute(
        _listing()
        .where(LearnerRow.username == username, EnrollmentRow.is_active)
        .order_by(EnrollmentRow.created, EnrollmentRow.event_id)
    )
    return [_listed(row) for row in rows]


class Filters(NamedTuple):
    """What a listing is narrowed to; empty means everything. All must hold."""

    course_ids: tuple[str, ...] = ()
    #: ``org+course`` prefixes, each with everything that runs under it.
    course_prefixes: tuple[str, ...] = ()
    usernames: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()


class Place(NamedTuple):
    """Where a page of the listing ends: newest first, ties by learner and course row."""

    created: int
    learner_id: int
    course_id: int


def page(
    session: Session, filters: Filters, *, after: Place | None, limit: int
) -> tuple[list[Listed], Place | None]:
    """A page of the listing, inactive ones too, newest first; and where the next begins."""
    query = (
        _listing()
        .add_columns(EnrollmentRow.learner_id, EnrollmentRow.course_id)
        .order_by(
            EnrollmentRow.created.desc(),
            EnrollmentRow.learner_id.desc(),
            EnrollmentRow.course_id.desc(),
        )
        .limit(limit + 1)
    )
    query = _narrowed(query, filters, postgresql=is_postgresql(session))
    if after is not None:
        here = tuple_(EnrollmentRow.created, EnrollmentRow.learner_id, EnrollmentRow.course_id)
        there = EPOCH + timedelta(microseconds=after.created)
        query = query.where(
            here
            < tuple_(
                literal(there, EnrollmentRow.created.type),
                literal(after.learner_id),
                literal(after.course_id),
            )
        )
    rows = session.execute(query).all()
    listed = [_listed(tuple(row)[:-2]) for row in rows[:limit]]
    if len(rows) <= limit:
        return listed, None
    last = rows[limit - 1]
    created = (listed[-1].enrollment.created - EPOCH) // timedelta(microseconds=1)
    return listed, Place(created, last[-2], last[-1])


def _narrowed(query: Select[Any], filters: Filters, *, postgresql: bool) -> Select[Any]:
    if filters.course_ids or filters.course_prefixes:
        wanted: ColumnElement[bool] = CourseRow.course_id.in_(filters.course_ids)
        for prefix in filters.course_prefixes:
            for separator in "+/":
                wanted |= _begins_with(prefix + separator, postgresql=postgresql)
        query = query.where(wanted)
    if filters.usernames:
        query = query.where(LearnerRow.username.in_(filters.usernames))
    if filters.emails:
        query = query.where(LearnerRow.email.in_([email.lower() for email in filters.emails]))
    return query


def _begins_with(start: str, *, postgresql: bool) -> ColumnElement[bool]:
    """A range of bytes, because case counts, which LIKE ignores on SQLite.

    PostgreSQL compares by the locale of the database unless told otherwise.
    """
    key = CourseRow.course_id.collate("C") if postgresql else CourseRow.course_id
    after = start[:-1] + chr(ord(start[-1]) + 1)
    return (key >= start) & (key < after)


def newest_event(session: Session, username: str, course_id: str) -> int | None:
    """The newest event of an enrollment, or None where there is no enrollment."""
    return session.scalars(
        select(EnrollmentRow.event_id)
        .join(LearnerRow, LearnerRow.id == EnrollmentRow.learner_id)
        .join(CourseRow, CourseRow.id == EnrollmentRow.course_id)
        .where(LearnerRow.username == username, CourseRow.course_id == course_id)
    ).first()


def count_active(session: Session, course_row: int) -> int:
    """Active enrollments of a course, counted."""
    return session.scalars(
        select(func.count()).where(EnrollmentRow.course_id == course_row, EnrollmentRow.is_active)
    ).one()
