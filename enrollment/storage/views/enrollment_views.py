"""Read models of enrollments: one, those of a learner, and lists page by page."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Executable,
    Select,
    bindparam,
    exists,
    literal,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session

from enrollment.domain.identity import canonical_email
from enrollment.domain.model import EPOCH, Enrollment
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.enrollments import STATE_COLUMNS, decode_enrollment
from enrollment.storage.people.course_roles import STAFF_ROLES
from enrollment.storage.tables import CourseRoleRow, CourseRow, EnrollmentRow, LearnerRow
from enrollment.storage.views.catalog import has_prefix


class EnrollmentView(NamedTuple):
    """An enrollment with its username and course id."""

    username: str
    course_id: str
    enrollment: Enrollment


def select_views() -> Select[Any]:
    """Returns a query of enrollments, whose rows `decode_view` decodes."""
    return (
        select(LearnerRow.username, CourseRow.course_id, *STATE_COLUMNS)
        .join(LearnerRow, LearnerRow.id == EnrollmentRow.learner_id)
        .join(CourseRow, CourseRow.id == EnrollmentRow.course_id)
    )


def decode_view(row: Sequence[Any]) -> EnrollmentView:
    """Decodes a row of `select_views`."""
    return EnrollmentView(row[0], row[1], decode_enrollment(row[2:]))


_FIND = select_views().where(
    LearnerRow.username == bindparam("username"), CourseRow.course_id == bindparam("course_id")
)


def find(session: Session, username: str, course_id: str) -> EnrollmentView | None:
    """Returns an enrollment, active or not; None where there is none."""
    row = session.execute(_FIND, {"username": username, "course_id": course_id}).first()
    return None if row is None else decode_view(row)


def in_courses_of_staff(username: str) -> ColumnElement[bool]:
    """Matches the courses of which a person is staff or instructor."""
    return exists().where(
        CourseRoleRow.username == username,
        CourseRoleRow.course_id == CourseRow.course_id,
        CourseRoleRow.role.in_(STAFF_ROLES),
    )


def active_course_ids(session: Session, username: str) -> list[str]:
    """Returns the courses in which a learner is active, oldest enrollment first."""
    rows = session.scalars(
        select(CourseRow.course_id)
        .join(EnrollmentRow, EnrollmentRow.course_id == CourseRow.id)
        .join(LearnerRow, LearnerRow.id == EnrollmentRow.learner_id)
        .where(LearnerRow.username == username, EnrollmentRow.is_active)
        .order_by(EnrollmentRow.created, EnrollmentRow.event_id)
    )
    return list(rows)


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
    """Returns a page of enrollments, also inactive ones, newest first, and its key (None: last).

    Looks up the rows that the filters name first, so that the planner knows which index has them:
    a page costs the page, however large the tables are.
    """
    courses = matching_courses(session, filters)
    learners = matching_learners(session, filters)
    if courses == [] or learners == []:
        return [], None
    found = _newest(session, learners, courses, after=after, limit=limit + 1)
    listed = found[:limit]
    usernames = _texts(session, LearnerRow.id, LearnerRow.username, {row[0] for row in listed})
    course_ids = _texts(session, CourseRow.id, CourseRow.course_id, {row[1] for row in listed})
    views = [
        EnrollmentView(usernames[row[0]], course_ids[row[1]], decode_enrollment(row[2:]))
        for row in listed
        if row[0] in usernames and row[1] in course_ids
    ]
    return views, None if len(found) <= limit else _key_of(listed[-1])


#: Courses whose newest enrollments one statement reads.
_COURSES_PER_STATEMENT = 100
#: Identity and state of an enrollment; `_CREATED` is the index of its creation in such a row.
_ROWS = select(EnrollmentRow.learner_id, EnrollmentRow.course_id, *STATE_COLUMNS)
_CREATED = 2 + [column.key for column in STATE_COLUMNS].index("created")


def _newest(
    session: Session,
    learners: Sequence[int] | None,
    courses: Sequence[int] | None,
    *,
    after: EnrollmentPageKey | None,
    limit: int,
) -> list[tuple[Any, ...]]:
    """Returns the newest enrollments after a key, of these learners and courses (None: of any).

    Those of a learner are few: all are read by primary key, and sorted. Those of a course may be
    many: of each course the newest are read from an index, and merged.
    """
    if learners is not None:
        theirs = _ROWS.where(EnrollmentRow.learner_id.in_(learners))
        if courses is not None:
            theirs = theirs.where(EnrollmentRow.course_id.in_(courses))
        every = theirs.cte("every").prefix_with("MATERIALIZED")
        return _rows(session, _newest_of(select(every), every.c, after, limit))
    if courses is None:
        return _rows(session, _newest_of(_ROWS, EnrollmentRow, after, limit))
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(courses), _COURSES_PER_STATEMENT):
        of_each = [
            select(
                _newest_of(
                    _ROWS.where(EnrollmentRow.course_id == course), EnrollmentRow, after, limit
                ).subquery()
            )
            for course in courses[start : start + _COURSES_PER_STATEMENT]
        ]
        found += _rows(session, union_all(*of_each))
    return sorted(found, key=_order_of, reverse=True)[:limit]


def _newest_of(
    query: Select[Any], row: Any, after: EnrollmentPageKey | None, limit: int
) -> Select[Any]:
    if after is not None:
        key = tuple_(row.created, row.learner_id, row.course_id)
        created = EPOCH + timedelta(microseconds=after.created)
        last = tuple_(
            literal(created, EnrollmentRow.created.type),
            literal(after.learner_id),
            literal(after.course_id),
        )
        query = query.where(key < last)
    order = row.created.desc(), row.learner_id.desc(), row.course_id.desc()
    return query.order_by(*order).limit(limit)


def _rows(session: Session, query: Executable) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in session.execute(query)]


def _order_of(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[_CREATED], row[0], row[1]


def _key_of(row: tuple[Any, ...]) -> EnrollmentPageKey:
    return EnrollmentPageKey((row[_CREATED] - EPOCH) // timedelta(microseconds=1), row[0], row[1])


def _texts(session: Session, key: Any, text: Any, rows: Collection[int]) -> dict[int, str]:
    """Returns a text of each of the rows, in one statement."""
    if not rows:
        return {}
    return dict(tuple(row) for row in session.execute(select(key, text).where(key.in_(rows))))


def matching_courses(session: Session, filters: EnrollmentFilters) -> list[int] | None:
    """Returns the rows of the courses that the filters name; None: they name none."""
    if not filters.course_ids and not filters.course_prefixes:
        return None
    wanted: ColumnElement[bool] = CourseRow.course_id.in_(filters.course_ids)
    for prefix in filters.course_prefixes:
        for separator in "+/":
            wanted |= has_prefix(prefix + separator, postgresql=is_postgresql(session))
    return list(session.scalars(select(CourseRow.id).where(wanted)))


def matching_learners(session: Session, filters: EnrollmentFilters) -> list[int] | None:
    """Returns the rows of the learners that the filters name; None: they name none."""
    if not filters.usernames and not filters.emails:
        return None
    query = select(LearnerRow.id)
    if filters.usernames:
        query = query.where(LearnerRow.username.in_(filters.usernames))
    if filters.emails:
        query = query.where(LearnerRow.email.in_(map(canonical_email, filters.emails)))
    return list(session.scalars(query))


def newest_event(session: Session, username: str, course_id: str) -> int | None:
    """Returns the id of the newest event of an enrollment, or None where there is none."""
    return session.scalars(
        select(EnrollmentRow.event_id)
        .join(LearnerRow, LearnerRow.id == EnrollmentRow.learner_id)
        .join(CourseRow, CourseRow.id == EnrollmentRow.course_id)
        .where(LearnerRow.username == username, CourseRow.course_id == course_id)
    ).first()
