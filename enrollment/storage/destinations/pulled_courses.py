"""Keeps courses like those of a destination; what it does not know stays."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from enrollment.domain.destinations.records import RemoteCourse
from enrollment.domain.model import Course
from enrollment.storage import course_edition, courses
from enrollment.storage.tables import CourseRow, ModeRow

#: The columns that are kept alike; no others of an existing course are written.
_COLUMNS = (
    "name",
    "course_start",
    "course_end",
    "enrollment_start",
    "enrollment_end",
    "invite_only",
)
_MODE_COLUMNS = (
    "slug",
    "name",
    "min_price",
    "suggested_prices",
    "currency",
    "expires_at",
    "description",
    "sku",
    "bulk_sku",
)


class PulledCourses(NamedTuple):
    """Numbers of courses that are new, were changed, and were alike already."""

    created: int
    changed: int
    unchanged: int


def keep_alike(session: Session, remote: Iterable[RemoteCourse]) -> PulledCourses:
    """Creates courses, and changes name, windows, modes and `invite_only` of existing ones.

    Seats, capacity, cohorts and pacing stay. Waits for batches that block changes and locks the
    rows in the order in which batches lock them, unless nothing differs.
    """
    named = {each.course_id: each for each in remote}
    if not _differing(named, courses.find_all(session, named)):
        return PulledCourses(0, 0, len(named))
    course_edition.exclude_batches(session)
    ids = select(CourseRow.id).where(CourseRow.course_id.in_(sorted(named)))
    session.execute(ids.order_by(CourseRow.id).with_for_update()).all()
    before = courses.find_all(session, named)
    after = _differing(named, before)
    for course in after:
        _write(session, before.get(course.course_id), course)
    course_edition.bump_edition(session)
    created = sum(course.course_id not in before for course in after)
    return PulledCourses(created, len(after) - created, len(named) - len(after))


def _differing(named: Mapping[str, RemoteCourse], found: Mapping[str, Course]) -> list[Course]:
    """Returns the courses that are not stored like this, as they should be, ordered by id."""
    wanted = {
        course_id: _merged(found.get(course_id), remote)
        for course_id, remote in sorted(named.items())
    }
    return [course for course_id, course in wanted.items() if course != found.get(course_id)]


def _merged(course: Course | None, remote: RemoteCourse) -> Course:
    return replace(
        course or Course(course_id=remote.course_id),
        name=remote.name,
        course_start=remote.start,
        course_end=remote.end,
        enrollment_start=remote.enrollment_start,
        enrollment_end=remote.enrollment_end,
        invite_only=remote.invitation_only,
        modes=remote.modes,
    )


def _write(session: Session, before: Course | None, after: Course) -> None:
    values = {name: getattr(after, name) for name in _COLUMNS}
    if before is None:
        new = {"course_id": after.course_id, "self_paced": after.self_paced, "cohorts": []}
        statement = insert(CourseRow).values(**values, **new).returning(CourseRow.id)
        row_id = session.scalar(statement)
    else:
        row_id = session.scalar(
            update(CourseRow)
            .where(CourseRow.course_id == after.course_id)
            .values(**values, revision=CourseRow.revision + 1)
            .returning(CourseRow.id)
        )
    if before is None or before.modes != after.modes:
        session.execute(delete(ModeRow).where(ModeRow.course_id == row_id))
        rows = [
            {
                "course_id": row_id,
                "position": position,
                **{name: getattr(mode, name) for name in _MODE_COLUMNS},
            }
            for position, mode in enumerate(after.modes)
        ]
        if rows:
            session.execute(insert(ModeRow), rows)
