"""Seats are counted under guard: of the revision that was judged, and of the capacity."""

from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import text

from enrollment.domain.errors import Conflict
from enrollment.storage import course_edition, courses
from enrollment.storage.engine.sessions import sessions_for
from tests.support.courses import ALGEBRA, a_course, found, loaded, save, take


@pytest.fixture
def saved(sessions):
    return partial(save, sessions)


@pytest.mark.parametrize("capacity", [None, 20])
def test_seats_of_a_course_changed_since_it_was_loaded_are_not_taken(sessions, saved, capacity):
    course = replace(ALGEBRA, capacity=capacity)
    saved(course)
    before = loaded(sessions, course.course_id)[course.course_id]
    saved(replace(course, name="New"))

    with pytest.raises(Conflict):
        take(sessions, before, 1)

    assert found(sessions, course.course_id).seats_taken == 0


def test_one_changed_course_among_many_stops_them_all(sessions, saved):
    saved(a_course(1), a_course(2))
    standing = loaded(sessions, a_course(1).course_id, a_course(2).course_id)
    one, two = standing.values()

    with pytest.raises(Conflict), sessions.begin() as session:
        courses.take_seats(session, {one.id: 1, two.id: 1}, {one.id: one.revision, two.id: 99})

    assert found(sessions, one.course.course_id).seats_taken == 0


def test_seats_of_a_removed_course_are_not_taken_not_even_none(sessions, saved):
    saved(ALGEBRA)
    before = loaded(sessions, ALGEBRA.course_id)[ALGEBRA.course_id]
    with sessions.begin() as session:
        courses.delete(session, ALGEBRA.course_id)

    with pytest.raises(Conflict):
        take(sessions, before, 0)


@pytest.mark.parametrize(
    ("capacity", "taken", "delta", "given"),
    [
        pytest.param(3, 2, 1, True, id="the last seat"),
        pytest.param(3, 2, 2, False, id="one too many"),
        pytest.param(0, 0, 1, False, id="no seats at all"),
        pytest.param(1, 3, -1, True, id="giving back above a lowered capacity"),
        pytest.param(1, 3, 0, True, id="nothing above a lowered capacity"),
        pytest.param(None, 3, 1000, True, id="unlimited"),
    ],
)
def test_seats_are_never_given_beyond_the_capacity(sessions, capacity, taken, delta, given):
    save(sessions, a_course(1))
    take(sessions, loaded(sessions, a_course(1).course_id)[a_course(1).course_id], taken)
    save(sessions, a_course(1, capacity=capacity))
    now = loaded(sessions, a_course(1).course_id)[a_course(1).course_id]

    if given:
        take(sessions, now, delta)
    else:
        with pytest.raises(Conflict):
            take(sessions, now, delta)

    assert found(sessions, a_course(1).course_id).seats_taken == taken + (delta if given else 0)


def without_waiting(session, change, *arguments):
    session.execute(text("SET LOCAL lock_timeout = '50ms'"))
    change(session, *arguments)


def save_without_waiting(session, course):
    without_waiting(session, courses.save, course)


@pytest.fixture
def on_postgresql(migrated_postgres_url):
    made = sessions_for(migrated_postgres_url)
    yield made
    made.dispose()


def test_a_capped_course_is_not_changed_while_a_batch_works_on_it(on_postgresql):
    with on_postgresql.begin() as session:
        courses.save_all(session, [ALGEBRA, a_course(1)])

    with on_postgresql.begin() as batch:
        standing = courses.load_for_batch(batch, [ALGEBRA.course_id, a_course(1).course_id])
        with pytest.raises(Conflict), on_postgresql.begin() as session:
            save_without_waiting(session, replace(ALGEBRA, name="New"))
        with on_postgresql.begin() as session:
            save_without_waiting(session, a_course(1, capacity=1))

    uncapped = standing[a_course(1).course_id]
    with pytest.raises(Conflict):
        take(on_postgresql, uncapped, 5)


def test_saving_a_course_as_it_is_waits_for_no_batch(on_postgresql):
    with on_postgresql.begin() as session:
        courses.save(session, ALGEBRA)

    with on_postgresql.begin() as batch:
        courses.load_for_batch(batch, [ALGEBRA.course_id])
        with on_postgresql.begin() as session:
            save_without_waiting(session, ALGEBRA)


def test_a_batch_that_blocks_changes_is_waited_for_and_does_not_block_other_batches(on_postgresql):
    with on_postgresql.begin() as session:
        courses.save_all(session, [ALGEBRA, a_course(1)])

    with on_postgresql.begin() as batch, on_postgresql.begin() as other:
        for each in (batch, other):
            course_edition.block_changes(each)
        standing = courses.load_for_batch(batch, [a_course(1).course_id])
        take(on_postgresql, standing[a_course(1).course_id], 1)
        for change in (
            lambda session: save_without_waiting(session, a_course(1, capacity=1)),
            lambda session: save_without_waiting(session, a_course(2)),
            lambda session: without_waiting(session, courses.delete, ALGEBRA.course_id),
            lambda session: without_waiting(
                session, courses.modify, ALGEBRA.course_id, lambda course: course
            ),
        ):
            with pytest.raises(Conflict), on_postgresql.begin() as session:
                change(session)


def test_a_cap_that_comes_between_lock_and_load_is_not_passed(on_postgresql):
    course = a_course(1)
    with on_postgresql.begin() as session:
        courses.save(session, replace(course, capacity=1))
    with on_postgresql.read() as first, on_postgresql.read() as second:
        batches = [  # both saw the cap and neither holds a lock
            courses._load(each, [course.course_id])[0] for each in (first, second)
        ]

    take(on_postgresql, batches[0], 1)
    with pytest.raises(Conflict):
        take(on_postgresql, batches[1], 1)
