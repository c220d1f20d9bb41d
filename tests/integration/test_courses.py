"""Courses in the records: written whole, read set-wise, seats counted under guard."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial

import pytest
from sqlalchemy import event

from enrollment.domain.errors import CourseInUse, CourseNotFound
from enrollment.domain.model import Course, Mode
from enrollment.storage import course_edition, courses
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


@pytest.fixture
def statements(sessions):
    """What is sent to the database from here on; BEGIN is no statement of ours."""
    seen = []

    def note(_connection, _cursor, statement, *_):
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    event.listen(sessions.engine, "before_cursor_execute", note)
    return seen


def a_course(number, **members):
    return Course(course_id=f"course-v1:Uni+C{number:05}+1", **members)


def save(sessions, *many):
    with sessions.begin() as session:
        courses.save_all(session, many)


@pytest.fixture
def saved(sessions):
    return partial(save, sessions)


def found(sessions, course_id):
    with sessions.read() as session:
        return courses.find(session, course_id)


def editions(sessions):
    with sessions.read() as session:
        return course_edition.edition(session)


def loaded(sessions, *course_ids):
    with sessions.begin() as session:
        return courses.load_for_batch(session, course_ids)


def take(sessions, course, delta, *, revision=None):
    with sessions.begin() as session:
        courses.take_seats(session, {course.id: delta}, {course.id: revision or course.revision})


def test_a_course_comes_back_as_it_was_saved(sessions, saved):
    saved(ALGEBRA)

    assert found(sessions, ALGEBRA.course_id) == ALGEBRA


def test_an_unknown_course_is_not_found(sessions):
    assert found(sessions, "course-v1:a+b+c") is None
    assert loaded(sessions, "course-v1:a+b+c") == {}
    assert loaded(sessions) == {}


def test_moments_come_back_in_utc(sessions, saved):
    east = timezone(timedelta(hours=8))
    saved(a_course(1, enrollment_start=NOON.astimezone(east)))

    assert found(sessions, a_course(1).course_id).enrollment_start.tzinfo is UTC


def test_saving_again_replaces_all_but_the_seats_taken(sessions, saved):
    saved(ALGEBRA)
    before = loaded(sessions, ALGEBRA.course_id)[ALGEBRA.course_id]
    take(sessions, before, 3)

    saved(Course(course_id=ALGEBRA.course_id, modes=(Mode(slug="audit"),), capacity=2))

    after = loaded(sessions, ALGEBRA.course_id)[ALGEBRA.course_id]
    assert after.course == Course(
        course_id=ALGEBRA.course_id, modes=(Mode(slug="audit"),), capacity=2, seats_taken=3
    )
    assert (after.id, after.revision) == (before.id, before.revision + 1)


def test_every_change_and_removal_raises_the_edition(sessions, saved):
    seen = [editions(sessions)]
    saved(ALGEBRA)
    seen.append(editions(sessions))
    saved(ALGEBRA)
    seen.append(editions(sessions))
    with sessions.begin() as session:
        courses.change(session, ALGEBRA.course_id, lambda course: course)
    seen.append(editions(sessions))
    with sessions.begin() as session:
        courses.delete(session, ALGEBRA.course_id)
    seen.append(editions(sessions))

    assert seen == sorted(set(seen))


def test_a_change_that_is_rolled_back_leaves_the_edition(sessions, saved):
    saved(ALGEBRA)
    before = editions(sessions)

    with sessions.begin() as session:
        courses.save(session, replace(ALGEBRA, name="New"))
        session.rollback()

    assert editions(sessions) == before


def test_taking_seats_changes_neither_revision_nor_edition(sessions, saved):
    saved(ALGEBRA)
    before, edition = loaded(sessions, ALGEBRA.course_id), editions(sessions)

    take(sessions, before[ALGEBRA.course_id], 2)

    after = loaded(sessions, ALGEBRA.course_id)[ALGEBRA.course_id]
    assert after.revision == before[ALGEBRA.course_id].revision
    assert after.course == replace(ALGEBRA, seats_taken=2)
    assert editions(sessions) == edition


def test_ten_thousand_courses_are_saved_at_once_and_loaded_in_three_statements(
    sessions, saved, statements
):
    many = [a_course(number, modes=(Mode(slug="audit"),)) for number in range(10_000)]
    saved(*many, *many[:3])

    statements.clear()
    with sessions.begin() as session:
        standing = courses.load_for_batch(session, [course.course_id for course in many])

    assert [standing[course.course_id].course for course in many] == many
    assert len(statements) <= 3
    statements.clear()
    with sessions.begin() as session:
        courses.take_seats(
            session,
            {each.id: 1 for each in standing.values()},
            {each.id: each.revision for each in standing.values()},
        )
    assert len(statements) == 1
    assert {each.course.seats_taken for each in loaded(sessions, *standing).values()} == {1}


def test_saving_nothing_and_taking_nothing_does_nothing(sessions, saved):
    before = editions(sessions)

    saved()
    with sessions.begin() as session:
        courses.take_seats(session, {}, {})

    assert editions(sessions) == before


def test_pages_follow_one_another_without_gap(sessions, saved):
    many = [a_course(number) for number in range(7)]
    saved(*reversed(many))

    with sessions.read() as session:
        first = courses.page(session, after=None, limit=3)
        second = courses.page(session, after=first[-1].course_id, limit=3)
        third = courses.page(session, after=second[-1].course_id, limit=3)

    assert first + second + third == many


def test_a_course_without_enrollments_is_deleted_with_its_modes(sessions, saved):
    saved(ALGEBRA)

    with sessions.begin() as session:
        courses.delete(session, ALGEBRA.course_id)

    assert found(sessions, ALGEBRA.course_id) is None
    with pytest.raises(CourseNotFound), sessions.begin() as session:
        courses.delete(session, ALGEBRA.course_id)


def test_a_course_with_enrollments_stays(sessions, saved):
    saved(ALGEBRA)
    row_id = loaded(sessions, ALGEBRA.course_id)[ALGEBRA.course_id].id
    with sessions.begin() as session:
        session.add(
            EnrollmentRow(
                learner_id=1, course_id=row_id, mode="audit", is_active=False, created=NOON,
                version=1, event_id=1, active_at=1, active_rank=1, active_line=1,
            )
        )  # fmt: skip

    with pytest.raises(CourseInUse), sessions.begin() as session:
        courses.delete(session, ALGEBRA.course_id)

    assert found(sessions, ALGEBRA.course_id) == ALGEBRA


def test_changing_an_unknown_course_says_so(sessions):
    with pytest.raises(CourseNotFound), sessions.begin() as session:
        courses.change(session, "course-v1:a+b+c", lambda course: course)


def test_a_change_edits_what_is_there_now(sessions, saved):
    saved(ALGEBRA)

    with sessions.begin() as session:
        result = courses.change(
            session, ALGEBRA.course_id, lambda course: replace(course, name="New")
        )

    assert result == found(sessions, ALGEBRA.course_id) == replace(ALGEBRA, name="New")
