"""Whoever loses races against others twice locks what it needs, and is through."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import event, text, update

from enrollment.domain.codes import Code
from enrollment.domain.errors import Conflict
from enrollment.storage import courses
from enrollment.storage.tables import EnrollmentRow
from tests.support.in_process_service import request, row
from tests.support.maintenance_env import FORGOTTEN, MaintenanceEnv
from worker.processing import processor
from worker.processing.processor import MAX_OPTIMISTIC_ATTEMPTS


@contextmanager
def others_come_first(world, change):
    """At each attempt somebody else writes, before the batch does; yields whether they could."""
    managed = []

    def write_meanwhile(_connection, _cursor, statement, *_):
        if "INSERT INTO event" not in statement:
            return
        try:
            with world.sessions.begin() as session:
                session.execute(text("SET LOCAL lock_timeout = 50"))
                change(session, len(managed))
        except Conflict:
            managed.append(False)
        else:
            managed.append(True)

    event.listen(world.sessions.engine, "before_cursor_execute", write_meanwhile)
    yield managed
    event.remove(world.sessions.engine, "before_cursor_execute", write_meanwhile)


@pytest.mark.parametrize("is_overdue", [False, True])
def test_a_file_is_not_starved_by_changes_of_its_courses(postgres_world, is_overdue):
    world = postgres_world
    course = world.course()
    world.batch_rows = 1
    file = world.send([row("ada"), row("bob"), row("cem")])
    first, second, _ = world.batch_ids(file)
    if is_overdue:
        MaintenanceEnv(world).pass_time(**FORGOTTEN)

    def change(session, number):
        courses.save(session, replace(course, name=f"Edition {number}"))

    with others_come_first(world, change) as managed:
        (done,) = world.deliver(first)

    assert managed == [True] * MAX_OPTIMISTIC_ATTEMPTS + [False]
    assert (done.batch_ids, [waiting.id for waiting in done.next]) == ((first,), [second])
    world.work()
    assert world.codes(file) == [Code.ENROLLED] * 3
    world.check()


def touch_enrollments(session, _number):
    session.execute(update(EnrollmentRow).values(version=EnrollmentRow.version + 1))


def test_a_batch_is_not_starved_by_changes_of_its_enrollments(postgres_world):
    world = postgres_world
    world.course(modes=["audit", "verified"])
    world.ask(request("ada", mode="audit"))
    world.work()
    (single,) = world.ask(request("ada", mode="verified"))

    with others_come_first(world, touch_enrollments) as managed:
        world.deliver(*world.batch_ids(single))

    assert managed == [True] * MAX_OPTIMISTIC_ATTEMPTS + [False]
    assert world.codes(single) == [Code.MODE_CHANGED]


def test_a_batch_that_lost_time_locks_at_its_second_attempt(postgres_world, monkeypatch):
    world = postgres_world
    course = world.course()
    (single,) = world.ask(request("ada"))
    monkeypatch.setattr(processor, "CONFLICT_RETRY_SECONDS", -1.0)

    def change(session, number):
        courses.save(session, replace(course, name=f"Edition {number}"))

    with others_come_first(world, change) as managed:
        world.deliver(*world.batch_ids(single))

    assert managed == [True, False]
    assert world.codes(single) == [Code.ENROLLED]


def test_changes_that_change_nothing_do_not_disturb_a_batch(postgres_world):
    world = postgres_world
    course = world.course(capacity=3)
    (single,) = world.ask(request("ada"))

    with others_come_first(world, lambda session, _: courses.save(session, course)) as managed:
        world.deliver(*world.batch_ids(single))

    assert managed == [True]
    assert world.codes(single) == [Code.ENROLLED]
