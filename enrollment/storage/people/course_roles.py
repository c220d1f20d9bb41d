"""Roles of people in single courses; neither the learner nor the course need exist."""

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import Select, String, func, select
from sqlalchemy import delete as delete_from
from sqlalchemy.orm import Session

from enrollment.domain.codes import CourseRole
from enrollment.storage.bulk.array_params import ArrayTable, insert_on
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import CourseRoleRow

#: Roles with staff access to the course; the others are only listed.
STAFF_ROLES = (CourseRole.STAFF, CourseRole.INSTRUCTOR)

#: (username, course_id)
PersonInCourse = tuple[str, str]


class RoleInCourse(NamedTuple):
    """A role of one person in one course."""

    course_id: str
    role: str


def replace(
    session: Session, username: str, course_id: str, role: CourseRole, *, now: datetime
) -> str | None:
    """Makes `role` the only role of a person in a course; returns the role before, or None.

    Waits for other writers of roles: two of them would each leave a role behind (SQLite has a
    single writer anyway).
    """
    postgresql = is_postgresql(session)
    if postgresql:
        session.execute(_LOCK)
    before = find_one(session, username, course_id)
    if before != role:
        _delete(session, username, course_id)
        row = {"username": username, "course_id": course_id, "role": role.value, "created": now}
        session.execute(insert_on(postgresql=postgresql)(CourseRoleRow.__table__).values(row))
    return before


def delete(session: Session, username: str, course_id: str) -> bool:
    """Deletes the roles of a person in a course; returns whether there was one."""
    return bool(_delete(session, username, course_id))


def find(session: Session, username: str, course_id: str | None = None) -> list[RoleInCourse]:
    """Returns the roles of a person, of one course or all, in the order of the courses."""
    query = select(CourseRoleRow.course_id, CourseRoleRow.role).where(
        CourseRoleRow.username == username
    )
    if course_id is not None:
        query = query.where(CourseRoleRow.course_id == course_id)
    return sorted(RoleInCourse(*row) for row in session.execute(query))


def find_one(session: Session, username: str, course_id: str) -> str | None:
    """Returns the role of a person in a course, or None."""
    found = find(session, username, course_id)
    return found[0].role if found else None


def staff_pairs(session: Session, pairs: Collection[PersonInCourse]) -> set[PersonInCourse]:
    """Returns those of the pairs where the person is staff or instructor, in one statement."""
    if not pairs:
        return set()
    parameters = _PAIRS.parameters(session, *zip(*pairs, strict=True))
    rows = session.execute(_staff_query(postgresql=is_postgresql(session)), parameters)
    return {(username, course_id) for username, course_id in rows}


#: An advisory lock of all writers of roles, which are few.
_LOCK = select(func.pg_advisory_xact_lock(0x726F6C6573))
_PAIRS = ArrayTable("wanted", username=String(), course_id=String())


@cache
def _staff_query(*, postgresql: bool) -> Select[str, str]:
    wanted = _PAIRS.table(postgresql=postgresql)
    has_key = (CourseRoleRow.username == wanted.c.username) & (
        CourseRoleRow.course_id == wanted.c.course_id
    )
    return (
        select(CourseRoleRow.username, CourseRoleRow.course_id)
        .join(wanted, has_key)
        .where(CourseRoleRow.role.in_([role.value for role in STAFF_ROLES]))
    )


def _delete(session: Session, username: str, course_id: str) -> int:
    result = session.execute(
        delete_from(CourseRoleRow).where(
            CourseRoleRow.username == username, CourseRoleRow.course_id == course_id
        )
    )
    deleted: int = result.rowcount  # type: ignore[attr-defined]
    return deleted
