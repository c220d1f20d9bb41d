"""Courses in the records: written whole, read set-wise, seats counted under guard."""

from dataclasses import replace
from datetime import UTC, timedelta, timezone
from functools import partial

import pytest
from sqlalchemy import event

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
    saved(replace(ALGEBRA, name="New"))
    seen.append(editions(sessions))
    with sessions.begin() as session:
        courses.modify(session, ALGEBRA.course_id, lambda course: replace(course, capacity=7))
    seen.append(editions(sessions))
    with sessions.begin() as session:
        courses.delete(session, ALGEBRA.course_id)
    seen.append(editions(sessions))

    assert seen == sorted(set(seen))


def test_saving_what_is_stored_already_changes_neither_revision_nor_edition(sessions, saved):
    many = [ALGEBRA, *(a_course(number) for number in range(3))]
    saved(*many)
    take(sessions, loaded(sessions, ALGEBRA.course_id)[ALGEBRA.course_id], 3)
    ids = [course.course_id for course in many]
    before, edition = loaded(sessions, *ids), editions(sessions)

    saved(ALGEBRA)
    saved(*many)
    east = NOON.astimezone(timezone(timedelta(hours=8)))
    saved(replace(ALGEBRA, enrollment_start=east))
    with sessions.begin() as session:
        courses.modify(session, ALGEBRA.course_id, lambda course: course)

    assert (loaded(sessions, *ids), editions(sessions)) == (before, edition)


MODE, OTHER_MODE = ALGEBRA.modes


@pytest.mark.parametrize(
    "change",
    [
        {"name": "New"},
        {"enrollment_start": None},
        {"enrollment_end": NOON},
        {"course_start": None},
        {"course_end": NOON},
        {"invite_only": False},
        {"self_paced": False},
        {"cohorts": ("blue", "red")},
        {"cohorts": ()},
        {"capacity": 21},
        {"capacity": None},
        {"modes": (OTHER_MODE, MODE)},
        {"modes": (MODE,)},
        {"modes": (MODE, OTHER_MODE, Mode(slug="honor"))},
        *(
            {"modes": (replace(MODE, **{name: value}), OTHER_MODE)}
            for name, value in {
                "name": "New",
                "min_price": 50,
                "suggested_prices": "1",
                "currency": "eur",
                "expires_at": None,
                "description": "New",
                "sku": None,
                "bulk_sku": "B-1",
            }.items()
        ),
    ],
    ids=str,
)
def test_every_fact_of_a_course_counts_as_a_change(sessions, saved, change):
    changed, other = replace(ALGEBRA, **change), a_course(1)
    saved(ALGEBRA, other)
    ids = (ALGEBRA.course_id, other.course_id)
    before, edition = loaded(sessions, *ids), editions(sessions)

    saved(changed, other)

    after = loaded(sessions, *ids)
    assert after[ALGEBRA.course_id].course == changed
    assert after[ALGEBRA.course_id].revision == before[ALGEBRA.course_id].revision + 1
    assert after[other.course_id] == before[other.course_id]
    assert editions(sessions) > edition


def test_a_change_between_reading_a_course_and_its_modes_is_noticed(postgres_world):
    sessions = postgres_world.sessions
    old, new = replace(ALGEBRA, name="Old", modes=(MODE,)), replace(ALGEBRA, modes=(OTHER_MODE,))
    mixed = replace(old, modes=new.modes)
    save(sessions, old)
    changes = [new]

    def change_meanwhile(_connection, _cursor, statement, *_):
        if "FROM mode" in statement and changes:
            save(sessions, changes.pop())

    event.listen(sessions.engine, "before_cursor_execute", change_meanwhile)
    save(sessions, mixed)
    event.remove(sessions.engine, "before_cursor_execute", change_meanwhile)

    assert found(sessions, ALGEBRA.course_id) == mixed


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
