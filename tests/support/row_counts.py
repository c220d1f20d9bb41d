"""What the records of a running service come to, counted beside it."""

from typing import NamedTuple

from sqlalchemy import func, select

from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.tables import CourseRow, EnrollmentRow, EventRow, FeedHeadRow


class RowCounts(NamedTuple):
    """Enrollments, those of them that are active, and the events behind them."""

    enrollments: int
    active: int
    events: int
    #: Where the feed of all courses ends.
    feed: int


def row_counts(url: str, courses: str = "%") -> RowCounts:
    """Counts over the courses whose ids are like the pattern."""
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
            feed = session.scalars(select(FeedHeadRow.position)).one_or_none()
            return RowCounts(total, active, session.scalars(events).one(), feed or 0)
    finally:
        sessions.dispose()
