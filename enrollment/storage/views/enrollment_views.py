"""Read models of enrollments: one, those of a learner, and lists page by page."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, bindparam, literal, select, tuple_
from sqlalchemy.orm import Session

from enrollment.domain.identity import canonical_email
from enrollment.domain.model import EPOCH, Enrollment
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.enrollments import STATE_COLUMNS, decode_enrollment
from enrollment.storage.tables import CourseRow, EnrollmentRow, LearnerRow


class EnrollmentView(NamedTuple):
    """An enrollment with its username and course id."""

    username: str
    course_id: str
    enrollment: Enrollment


def _select_views() -> Select[Any]:
    return (
        select(LearnerRow.username, CourseRow.course_id, *STATE_COLUMNS)
        .join(LearnerRow, LearnerRow.id == EnrollmentRow.learner_id)
        .join(CourseRow, CourseRow.id == EnrollmentRow.course_id)
    )


def _view(row: Sequence[Any]) -> EnrollmentView:
    return EnrollmentView(row[0], row[1], decode_enrollment(row[2:]))


_FIND = _select_views().where(
    LearnerRow.username == bindparam("username"), CourseRow.course_id == bindparam("course_id")
)


def find(session: Session, username: str, course_id: str) -> EnrollmentView | None:
    """Returns an enrollment, active or not; None where there is none."""
    row = session.execute(_FIND, {"username": username, "course_id": course_id}).first()
    return None if row is None else _view(row)


def list_active(session: Session, username: str) -> list[EnrollmentView]:
    """Returns the active enrollments of a learner, oldest first."""
    rows = session.execute(
        _select_views()
        .where(LearnerRow.username == username, EnrollmentRow.is_active)
        .order_by(EnrollmentRow.created, EnrollmentRow.event_id)
    )
    return [_view(row) for row in rows]


class EnrollmentFilters(NamedTuple):
    """Filters of a list; an empty one does not filter, several must all match."""

    course_ids: tuple[str, ...] = ()
    #: Prefixes such as `org+course`, which match all runs.
    course_prefixes: tuple[str, ...] = ()
    usernames: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()


class EnrollmentPageKey(NamedTuple):
    """Key of the last row of a page: newest first, then by learner and course row."""

    created: int
    learner_id: int
    course_id: int


def page(
    session: Session, filters: EnrollmentFilters, *, after: EnrollmentPageKey | None, limit: int
) -> tuple[list[EnrollmentView], EnrollmentPageKey | None]:
    """Returns a page of enrollments, also inactive ones, newest first, and its key (None: last)."""
    query = (
        _select_views()
        .add_columns(EnrollmentRow.learner_id, EnrollmentRow.course_id)
        .order_by(
            EnrollmentRow.created.desc(),
            EnrollmentRow.learner_id.desc(),
            EnrollmentRow.course_id.desc(),
        )
        .limit(limit + 1)
    )
    query = _apply_filters(query, filters, postgresql=is_postgresql(session))
    if after is not None:
        key = tuple_(EnrollmentRow.created, EnrollmentRow.learner_id, EnrollmentRow.course_id)
        created = EPOCH + timedelta(microseconds=after.created)
        query = query.where(
            key
            < tuple_(
                literal(created, EnrollmentRow.created.type),
                literal(after.learner_id),
                literal(after.course_id),
            )
        )
    rows = session.execute(query).all()
    listed = [_view(tuple(row)[:-2]) for row in rows[:limit]]
    if len(rows) <= limit:
        return listed, None
    last = rows[limit - 1]
    created_us = (listed[-1].enrollment.created - EPOCH) // timedelta(microseconds=1)
    return listed, EnrollmentPageKey(created_us, last[-2], last[-1])


def _apply_filters(
    query: Select[Any], filters: EnrollmentFilters, *, postgresql: bool
) -> Select[Any]:
    if filters.course_ids or filters.course_prefixes:
        wanted: ColumnElement[bool] = CourseRow.course_id.in_(filters.course_ids)
        for prefix in filters.course_prefixes:
            for separator in "+/":
                wanted |= _has_prefix(prefix + separator, postgresql=postgresql)
        query = query.where(wanted)
    if filters.usernames:
        query = query.where(LearnerRow.username.in_(filters.usernames))
    if filters.emails:
        query = query.where(LearnerRow.email.in_(map(canonical_email, filters.emails)))
    return query


def _has_prefix(start: str, *, postgresql: bool) -> ColumnElement[bool]:
    """Matches course ids with a prefix, by a range of bytes: LIKE ignores case on SQLite.

    The collation is explicit because PostgreSQL compares by the locale of the database.
    """
    key = CourseRow.course_id.collate("C") if postgresql else CourseRow.course_id
    after = start[:-1] + chr(ord(start[-1]) + 1)
    return (key >= start) & (key < after)


def newest_event(session: Session, username: str, course_id: str) -> int | None:
    """Returns the id of the newest event of an enrollment, or None where there is none."""
    return session.scalars(
        select(EnrollmentRow.event_id)
        .join(LearnerRow, LearnerRow.id == EnrollmentRow.learner_id)
        .join(CourseRow, CourseRow.id == EnrollmentRow.course_id)
        .where(LearnerRow.username == username, CourseRow.course_id == course_id)
    ).first()
