"""Counts rows of a running service directly in its database."""

from typing import NamedTuple

from sqlalchemy import func, select

from enrollment.storage import events as event_store
from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.tables import CourseRow, EnrollmentRow, EventRow


class RowCounts(NamedTuple):
    """Enrollments, active enrollments, and their events."""

    enrollments: int
    active: int
    events: int
    #: The end of the feed of all courses.
    feed: int


def row_counts(url: str, courses: str = "%") -> RowCounts:
    """Counts rows of the courses whose ids match a pattern."""
    enrollments = (
        select(func.count(), func.count().filter(EnrollmentRow.is_active.is_(True)))
        .select_from(EnrollmentRow)
        .join(CourseRow, CourseRow.id == EnrollmentRow.course_id)
        .where(CourseRow.course_id.like(courses))
    )
    events = select(func.count()).where(EventRow.course_id.like(courses))
    sessions = sessions_for(url, pool_size=1)
    try:
        with sessions.read() as session:
            total, active = session.execute(enrollments).one()
            feed = event_store.last_position(session)
            return RowCounts(total, active, session.scalars(events).one(), feed)
    finally:
        sessions.dispose()
