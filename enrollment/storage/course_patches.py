"""Changes to many courses in one transaction."""

from collections.abc import Callable, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from enrollment.domain.model import Course
from enrollment.storage import course_edition, courses
from enrollment.storage.tables import CourseRow


def modify_all(
    session: Session, edits: Mapping[str, Callable[[Course | None], Course]]
) -> list[tuple[Course | None, Course]]:
    """Saves for each course id the course that its function returns, for None if it is new.

    Waits for batches that block changes of courses, and locks the existing rows first, in the order
    in which batches lock them, so that no change between reading and writing is lost. Returns each
    course before and after, in the given order.
    """
    course_edition.exclude_batches(session)
    ids = select(CourseRow.id).where(CourseRow.course_id.in_(sorted(edits)))
    session.execute(ids.order_by(CourseRow.id).with_for_update()).all()
    before = courses.find_all(session, edits)
    changes = [
        (before.get(course_id), edit(before.get(course_id))) for course_id, edit in edits.items()
    ]
    courses.save_all(session, [after for _, after in changes])
    return changes
