"""Changes to many courses in one transaction."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import select, update
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


class UpdatedCourses(NamedTuple):
    """Ids of courses that were changed, and of those that do not exist."""

    changed: list[str]
    unknown: list[str]


def update_existing(session: Session, patches: Mapping[str, Mapping[str, Any]]) -> UpdatedCourses:
    """Sets columns of courses that exist, by course id; modes, seats and cohorts stay.

    Waits for batches that block changes and locks the rows in the order in which batches lock them,
    unless nothing differs.
    """
    found = courses.find_all(session, patches)
    unknown = sorted(patches.keys() - found.keys())
    if not _differing(found, patches):
        return UpdatedCourses([], unknown)
    course_edition.exclude_batches(session)
    ids = select(CourseRow.id).where(CourseRow.course_id.in_(sorted(found)))
    session.execute(ids.order_by(CourseRow.id).with_for_update()).all()
    changed = _differing(courses.find_all(session, patches), patches)
    for course_id in changed:
        session.execute(
            update(CourseRow)
            .where(CourseRow.course_id == course_id)
            .values(**patches[course_id], revision=CourseRow.revision + 1)
        )
    if changed:
        course_edition.bump_edition(session)
    return UpdatedCourses(changed, unknown)


def _differing(found: Mapping[str, Course], patches: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the ids of the courses in which a patch changes something, sorted."""
    return sorted(
        course_id
        for course_id, course in found.items()
        if any(getattr(course, name) != value for name, value in patches[course_id].items())
    )
