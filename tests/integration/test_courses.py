"""Courses in the records: written whole, read set-wise, seats counted under guard."""

from dataclasses import replace
from datetime import UTC, timedelta, timezone
from functools import partial

import pytest

from enrollment.domain.errors import CourseInUse, CourseNotFound
from enrollment.domain.model import Course, Mode
from enrollment.storage import course_edition, courses
from tests.support.courses import (
    ALGEBRA,
    NOON,
    a_course,
    enroll_somebody,
    found,
    loaded,
    save,
    take,
)


@pytest.fixture
def saved(sessions):
    return partial(save, sessions)


def editions(sessions):
    with sessions.read() as session:
        return course_edition.edition(session)


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
        courses.modify(session, ALGEBRA.course_id, lambda course: course)
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
    enroll_somebody(sessions, ALGEBRA.course_id)

    with pytest.raises(CourseInUse), sessions.begin() as session:
        courses.delete(session, ALGEBRA.course_id)

    assert found(sessions, ALGEBRA.course_id) == ALGEBRA


def test_changing_an_unknown_course_says_so(sessions):
    with pytest.raises(CourseNotFound), sessions.begin() as session:
        courses.modify(session, "course-v1:a+b+c", lambda course: course)


def test_a_change_edits_what_is_there_now(sessions, saved):
    saved(ALGEBRA)

    with sessions.begin() as session:
        result = courses.modify(
            session, ALGEBRA.course_id, lambda course: replace(course, name="New")
        )

    assert result == found(sessions, ALGEBRA.course_id) == replace(ALGEBRA, name="New")
