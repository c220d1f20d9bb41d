"""Ids of courses that are similar to an unknown one."""

from collections.abc import Collection

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from enrollment.domain.course_keys import parse_course_key
from enrollment.storage.tables import CourseRow


def list_of_same_orgs(session: Session, course_ids: Collection[str], *, limit: int) -> list[str]:
    """Returns the ids of known courses that begin with the org of one of these keys, up to a limit.

    One statement, which takes no locks.
    """
    prefixes = {
        course_id[: course_id.index(key.org) + len(key.org) + 1]
        for course_id in course_ids
        if (key := parse_course_key(course_id)) is not None
    }
    if not prefixes:
        return []
    starts = [CourseRow.course_id.startswith(it, autoescape=True) for it in sorted(prefixes)]
    return [*session.scalars(select(CourseRow.course_id).where(or_(*starts)).limit(limit))]
