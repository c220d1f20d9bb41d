"""The learners, courses and enrollments of events, as other systems want to know them."""

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Select, String, select
from sqlalchemy.orm import Session

from enrollment.storage.bulk.array_params import ArrayTable
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import CourseRow, EnrollmentRow, LearnerRow


class StoredSubject(NamedTuple):
    """A learner, a course and when the enrollment was created."""

    learner_id: int
    email: str | None
    is_active: bool
    course_name: str
    course_start: datetime | None
    course_end: datetime | None
    created: datetime


_WANTED = ArrayTable("wanted", username=String(), course_id=String())


@cache
def _select(*, postgresql: bool) -> Select[*tuple[Any, ...]]:
    wanted = _WANTED.table(postgresql=postgresql)
    return (
        select(
            LearnerRow.username,
            CourseRow.course_id,
            LearnerRow.id,
            LearnerRow.email,
            LearnerRow.is_active,
            CourseRow.name,
            CourseRow.course_start,
            CourseRow.course_end,
            EnrollmentRow.created,
        )
        .select_from(wanted)
        .join(LearnerRow, LearnerRow.username == wanted.c.username)
        .join(CourseRow, CourseRow.course_id == wanted.c.course_id)
        .join(
            EnrollmentRow,
            (EnrollmentRow.learner_id == LearnerRow.id) & (EnrollmentRow.course_id == CourseRow.id),
        )
    )


def find_subjects(
    session: Session, keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], StoredSubject]:
    """Returns what is known of enrollments by (username, course id), in one statement."""
    columns = list(zip(*dict.fromkeys(keys), strict=True))
    if not columns:
        return {}
    query = _select(postgresql=is_postgresql(session))
    rows = session.execute(query, _WANTED.parameters(session, *columns))
    return {(row[0], row[1]): StoredSubject._make(row[2:]) for row in rows}
