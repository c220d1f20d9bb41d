"""Enrollments of many learners by one statement, with the edition of the courses at that moment."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Select, String, select
from sqlalchemy.orm import Session

from enrollment.storage.bulk.array_params import ArrayTable
from enrollment.storage.course_edition import EDITION
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.people.course_roles import STAFF_ROLES
from enrollment.storage.tables import CourseRoleRow, CourseRow, EnrollmentRow, LearnerRow


class StateView(NamedTuple):
    """The state of an enrollment in one course, as readers see it."""

    course_id: str
    mode: str
    is_active: bool
    created: datetime


class PointKey(NamedTuple):
    """The learner and the course of an enrollment."""

    username: str
    course_id: str


class SharedKey(NamedTuple):
    """A learner, and a person who may see the enrollments in courses of which they are staff."""

    username: str
    staff: str


class PointReads(NamedTuple):
    """The enrollments of each key, in the order of the keys, as one snapshot has them."""

    found: Sequence[Sequence[StateView]]
    #: The edition of the courses in the same snapshot; 0 where nothing was found.
    edition: int


_LEARNER = LearnerRow.__table__.c
_COURSE = CourseRow.__table__.c
_ENROLLMENT = EnrollmentRow.__table__.c
_ROLE = CourseRoleRow.__table__.c
_STATE = (_COURSE.course_id, _ENROLLMENT.mode, _ENROLLMENT.is_active, _ENROLLMENT.created)

_KEYS = ArrayTable("wanted", username=String(), course_id=String())
_USERNAMES = ArrayTable("wanted", username=String())
_SHARED = ArrayTable("wanted", username=String(), staff=String())


@cache
def _find_many(*, postgresql: bool) -> Select[*tuple[Any, ...]]:
    wanted = _KEYS.table(postgresql=postgresql)
    source = (
        wanted.join(LearnerRow.__table__, _LEARNER.username == wanted.c.username)
        .join(CourseRow.__table__, _COURSE.course_id == wanted.c.course_id)
        .join(
            EnrollmentRow.__table__,
            (_ENROLLMENT.learner_id == _LEARNER.id) & (_ENROLLMENT.course_id == _COURSE.id),
        )
    )
    return select(wanted.c.ordinality, EDITION, *_STATE).select_from(source)


@cache
def _list_active(*, postgresql: bool) -> Select[*tuple[Any, ...]]:
    """Selects the active enrollments of learners."""
    wanted = _USERNAMES.table(postgresql=postgresql)
    source = (
        wanted.join(LearnerRow.__table__, _LEARNER.username == wanted.c.username)
        .join(EnrollmentRow.__table__, _ENROLLMENT.learner_id == _LEARNER.id)
        .join(CourseRow.__table__, _COURSE.id == _ENROLLMENT.course_id)
    )
    return (
        select(wanted.c.ordinality, EDITION, *_STATE)
        .select_from(source)
        .where(_ENROLLMENT.is_active)
        .order_by(wanted.c.ordinality, _ENROLLMENT.created, _ENROLLMENT.event_id)
    )


@cache
def _list_shared(*, postgresql: bool) -> Select[*tuple[Any, ...]]:
    """Selects the active enrollments of learners in courses of which the reader is staff.

    It begins with these courses, so that the time does not depend on the learner's enrollments in
    others, which must not be known to exist; without any course the learner is not looked up.
    """
    wanted = _SHARED.table(postgresql=postgresql)
    courses = (
        select(wanted.c.ordinality, wanted.c.username, _COURSE.id, _COURSE.course_id)
        .select_from(
            wanted.join(CourseRoleRow.__table__, _ROLE.username == wanted.c.staff).join(
                CourseRow.__table__, _COURSE.course_id == _ROLE.course_id
            )
        )
        .where(_ROLE.role.in_([role.value for role in STAFF_ROLES]))
        .distinct()
        .cte("staffed")
        .prefix_with("MATERIALIZED")
    )
    state = (courses.c.course_id, *_STATE[1:])
    source = courses.join(LearnerRow.__table__, _LEARNER.username == courses.c.username).join(
        EnrollmentRow.__table__,
        (_ENROLLMENT.learner_id == _LEARNER.id) & (_ENROLLMENT.course_id == courses.c.id),
    )
    return (
        select(courses.c.ordinality, EDITION, *state)
        .select_from(source)
        .where(_ENROLLMENT.is_active)
        .order_by(courses.c.ordinality, _ENROLLMENT.created, _ENROLLMENT.event_id)
    )


def find_many(session: Session, keys: Sequence[PointKey]) -> PointReads:
    """Returns the enrollment of each key, active or not."""
    query = _find_many(postgresql=is_postgresql(session))
    return _read(session, query, len(keys), _KEYS.parameters(session, *zip(*keys, strict=True)))


def list_active(session: Session, usernames: Sequence[str]) -> PointReads:
    """Returns the active enrollments of each learner, oldest first."""
    query = _list_active(postgresql=is_postgresql(session))
    return _read(session, query, len(usernames), _USERNAMES.parameters(session, usernames))


def list_shared(session: Session, keys: Sequence[SharedKey]) -> PointReads:
    """Returns the active enrollments of each learner in courses of which a person is staff.

    One statement whether the learners exist or not, so that its time does not tell.
    """
    query = _list_shared(postgresql=is_postgresql(session))
    return _read(session, query, len(keys), _SHARED.parameters(session, *zip(*keys, strict=True)))


def _read(
    session: Session, query: Select[*tuple[Any, ...]], number: int, parameters: dict[str, object]
) -> PointReads:
    found: list[list[StateView]] = [[] for _ in range(number)]
    edition = None
    for ordinality, edition, *state in session.execute(query, parameters):  # noqa: B007 (of any row)
        found[ordinality - 1].append(StateView(*state))
    return PointReads(found, edition or 0)
