"""Courses for tests, and storage functions in transactions of their own."""

from datetime import UTC, datetime, timedelta

from enrollment.domain.model import Course, Mode
from enrollment.storage import courses
from enrollment.storage.courses import LoadedCourse
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.tables import EnrollmentRow

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
ALGEBRA = Course(
    course_id="course-v1:Uni+ALG+2026",
    name="Algebra",
    enrollment_start=NOON,
    enrollment_end=NOON + timedelta(days=30),
    course_start=NOON + timedelta(days=31, microseconds=5),
    course_end=None,
    invite_only=True,
    self_paced=True,
    modes=(
        Mode(slug="verified", name="Verified", min_price=49, expires_at=NOON, sku="V-1"),
        Mode(slug="audit", name="Audit", suggested_prices="5,10", description="free"),
    ),
    cohorts=("red", "blue"),
    capacity=20,
)


def a_course(number: int, **members: object) -> Course:
    """Returns the n-th course, without modes of its own."""
    return Course(course_id=f"course-v1:Uni+C{number:05}+1", **members)  # type: ignore[arg-type]


def save(sessions: Sessions, *many: Course) -> None:
    """Saves courses."""
    with sessions.begin() as session:
        courses.save_all(session, many)


def found(sessions: Sessions, course_id: str) -> Course | None:
    """Finds a course."""
    with sessions.read() as session:
        return courses.find(session, course_id)


def loaded(sessions: Sessions, *course_ids: str) -> dict[str, LoadedCourse]:
    """Loads courses like a batch does."""
    with sessions.begin() as session:
        return courses.load_for_batch(session, course_ids)


def take(
    sessions: Sessions, course: LoadedCourse, delta: int, *, revision: int | None = None
) -> None:
    """Takes seats of a course."""
    with sessions.begin() as session:
        courses.take_seats(session, {course.id: delta}, {course.id: revision or course.revision})


def enroll_somebody(sessions: Sessions, course_id: str) -> None:
    """Stores an inactive enrollment in a course without counting seats."""
    row_id = loaded(sessions, course_id)[course_id].id
    with sessions.begin() as session:
        session.add(
            EnrollmentRow(
                learner_id=1, course_id=row_id, mode="audit", is_active=False, created=NOON,
                version=1, event_id=1, active_at=1, active_rank=1, active_line=1,
            )
        )  # fmt: skip
