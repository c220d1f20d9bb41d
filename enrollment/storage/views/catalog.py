"""Read models of the catalogue: courses by ranges of their ids, in numbered pages."""

from sqlalchemy import ColumnElement, func, or_, select, true
from sqlalchemy.orm import Session

from enrollment.domain.model import Course
from enrollment.storage import courses
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import CourseRow


def numbered_page(
    session: Session, org: str | None, *, start: int, limit: int
) -> tuple[list[Course], int]:
    """Returns courses of an organization (None: of any) by their ids, and how many there are.

    The first `start` of them are skipped.
    """
    postgresql = is_postgresql(session)
    wanted: ColumnElement[bool] = true()
    if org is not None:
        starts = (f"course-v1:{org}+", f"{org}/")
        wanted = or_(*(has_prefix(text, postgresql=postgresql) for text in starts))
    counted = select(func.count()).select_from(CourseRow).where(wanted)
    page = select(CourseRow.course_id).where(wanted).order_by(CourseRow.course_id)
    count = session.scalars(counted).one()
    course_ids = list(session.scalars(page.offset(start).limit(limit)))
    known = courses.find_all(session, course_ids)
    return [known[course_id] for course_id in course_ids if course_id in known], count


def has_prefix(start: str, *, postgresql: bool) -> ColumnElement[bool]:
    """Matches course ids with a prefix, by a range of bytes: LIKE ignores case on SQLite.

    PostgreSQL compares by the locale of the database, but for these operators, which an index
    supports.
    """
    after = start[:-1] + chr(ord(start[-1]) + 1)
    key = CourseRow.course_id
    if postgresql:
        return key.bool_op("~>=~")(start) & key.bool_op("~<~")(after)
    return (key >= start) & (key < after)
