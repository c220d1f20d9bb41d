"""Roles of people in courses."""

from collections.abc import Collection

from sqlalchemy import String, select
from sqlalchemy.orm import Session

from enrollment.storage.bulk.array_params import ArrayTable
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import CourseRoleRow

#: Roles with staff access to the course.
STAFF_ROLES = ("staff", "instructor")
_PAIRS = ArrayTable("wanted", username=String(), course_id=String())


def staff_pairs(session: Session, pairs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Returns those (username, course_id) pairs in which the person is on the course's staff.

    One statement; none for no pairs.
    """
    if not pairs:
        return set()
    row = CourseRoleRow
    wanted = _PAIRS.table(postgresql=is_postgresql(session))
    query = (
        select(row.username, row.course_id)
        .join(wanted, (row.username == wanted.c.username) & (row.course_id == wanted.c.course_id))
        .where(row.role.in_(STAFF_ROLES))
    )
    parameters = _PAIRS.parameters(session, *zip(*sorted(pairs), strict=True))
    return {(username, course_id) for username, course_id in session.execute(query, parameters)}
