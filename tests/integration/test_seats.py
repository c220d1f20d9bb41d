"""Seats are never given beyond the capacity, and never refused while there is room."""

import queue
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest
from sqlalchemy import event, update

from enrollment.domain.codes import Code, Lane, Reason
from enrollment.domain.errors import CourseInUse
from enrollment.storage import courses
from enrollment.storage.tables import CourseRow
from tests.support.breakpoints import PATIENCE, Breakpoint, Side, meeting, together
from tests.support.in_process_service import COURSE, OTHER, request, row

FULL = (Code.REFUSED, Reason.COURSE_FULL)
IN = (Code.ENROLLED, None)


def test_fifty_clients_race_for_ten_seats_over_both_lanes_with_three_workers(world):
    world.course(capacity=10)
    messages = queue.SimpleQueue()

    def ask(number):
        wish = request(f"learner{number}")
        if number % 2:
            (submission_id,) = world.ask(wish)
        else:
            submission_id = world.send([row(f"learner{number}")], lane=Lane.BULK)
        messages.put(world.batch_ids(submission_id)[0])
        return submission_id

    def work():
        while (number := messages.get(timeout=PATIENCE)) is not None:
            world.processor.process(number)

    with ThreadPoolExecutor(3) as workers, ThreadPoolExecutor(2) as clients:
        working = [workers.submit(work) for _ in range(3)]
        asked = list(clients.map(ask, range(50)))
        for _ in working:
            messages.put(None)
        for one in working:
            one.result()
    world.work()

    answers = [world.answer(submission_id) for submission_id in asked]
    assert (answers.count(IN), answers.count(FULL)) == (10, 40)
    world.check()


@pytest.mark.parametrize("seats", [0, 1, 7])
def test_one_file_gets_as_many_seats_as_there_are(world, seats):
    world.batch_rows = 4
    world.course(capacity=seats)
    file = world.send([row(f"learner{n}") for n in range(10)])

    world.work()

    assert world.codes(file) == [Code.ENROLLED] * seats + [Code.REFUSED] * (10 - seats)
    assert world.submission(file).tally.reasons == {Reason.COURSE_FULL: 10 - seats}
    world.check()


def test_a_seat_that_is_given_back_is_given_again(world):
    world.course(capacity=1)
    file = world.send([row("ada"), row("bob"), row("ada", is_active=False), row("bob")])

    world.work()

    assert world.codes(file) == [Code.ENROLLED, Code.REFUSED, Code.DEACTIVATED, Code.ENROLLED]
    world.check()


def test_lowering_the_capacity_drops_nobody_and_gives_none_until_there_is_room(world):
    world.course(capacity=3)
    world.ask(*(request(user) for user in ("ada", "bob", "eve")))
    world.work()

    world.course(capacity=1)
    (late,) = world.ask(request("zoe"))
    world.work()
    world.ask(request("ada", is_active=False))
    (still_late,) = world.ask(request("zoe"))
    world.work()
    world.ask(request("bob", is_active=False))
    world.ask(request("eve", is_active=False))
    (in_time,) = world.ask(request("zoe"))
    world.work()

    assert world.answer(late) == world.answer(still_late) == FULL
    assert world.answer(in_time) == IN
    world.check()


def test_who_is_enrolled_already_needs_no_seat(world):
    world.course(modes=["audit", "verified"], capacity=1)
    world.ask(request("ada"))
    world.work()
    again, paid = world.ask(request("ada"), request("ada", mode="verified"))

    world.work()

    assert world.answer(again) == (Code.UNCHANGED, None)
    assert world.answer(paid) == (Code.MODE_CHANGED, None)


# --- while a batch is in work -------------------------------------------------------------


def test_a_capacity_that_is_set_while_a_batch_is_in_work_is_kept(postgres_world):
    world = postgres_world
    world.course()
    world.learner("ada")
    world.learner("bob")
    file = world.send([row("ada"), row("bob")])
    (number,) = world.batch_ids(file)

    with Breakpoint(world.sessions, "INSERT INTO enrollment") as halt:
        batch = Side(lambda: world.processor.process(number))
        halt.until_reached()
        world.most_seats.clear()
        world.course(capacity=1)
        halt.go_on()
        batch.join()

    assert world.codes(file) == [Code.ENROLLED, Code.REFUSED]
    world.check()


def test_a_capacity_is_lowered_after_the_batch_in_work(postgres_world):
    world = postgres_world
    world.course(capacity=2)
    file = world.send([row("ada"), row("bob")])
    (number,) = world.batch_ids(file)

    with Breakpoint(world.sessions, "INSERT INTO enrollment") as halt:
        batch = Side(lambda: world.processor.process(number))
        halt.until_reached()
        lowering = Side(lambda: world.course(capacity=1))
        assert lowering.is_running
        halt.go_on()
        batch.join()
        lowering.join()
    (late,) = world.ask(request("eve"))
    world.work()

    assert world.codes(file) == [Code.ENROLLED, Code.ENROLLED]
    assert world.answer(late) == FULL
    world.check()


@pytest.mark.parametrize("is_active", [True, False])
def test_a_course_is_not_deleted_under_a_batch_in_work(postgres_world, is_active):
    world = postgres_world
    world.course()
    world.learner("ada")
    file = world.send([row("ada", is_active=is_active)])
    (number,) = world.batch_ids(file)

    def delete():
        with world.sessions.begin() as session:
            courses.delete(session, COURSE)

    with Breakpoint(world.sessions, "INSERT INTO enrollment") as halt:
        batch = Side(lambda: world.processor.process(number))
        halt.until_reached()
        delete()
        halt.go_on()
        batch.join()

    assert world.answer(file) == (Code.REFUSED, Reason.COURSE_NOT_FOUND)
    assert world.events() == []
    world.course()
    world.ask(request("ada", is_active=is_active))
    world.work()
    with pytest.raises(CourseInUse):
        delete()
    world.check()


def test_two_batches_over_the_same_two_courses_both_come_through(postgres_world):
    world = postgres_world
    world.course(capacity=4)
    world.course(OTHER, capacity=4)
    there = [row(f"learner{n}", [COURSE, OTHER][n % 2]) for n in range(6)]
    back = [row(f"other{n}", [OTHER, COURSE][n % 2]) for n in range(6)]
    files = [world.send(there), world.send(back)]

    together(*(lambda file=file: world.deliver(*world.batch_ids(file)) for file in files))

    codes = [code for file in files for code in world.codes(file)]
    assert (codes.count(Code.ENROLLED), codes.count(Code.REFUSED)) == (8, 4)
    world.check()


# --- the checker has teeth ----------------------------------------------------------------


def count_without_looking(session, seats, loaded):
    """Sabotage: seats are counted, whatever was set or taken since they were looked at."""
    for number, delta in seats.items():
        session.execute(
            update(CourseRow)
            .where(CourseRow.id == number)
            .values(seats_taken=CourseRow.seats_taken + delta)
        )


@contextmanager
def looking_without_locks(sessions):
    """Sabotage: two batches may look at the same last seat."""

    def strip(_connection, _cursor, sql, parameters, *_):
        looks = sql.startswith("SELECT") and "FROM course" in sql
        return sql.partition(" FOR UPDATE")[0] if looks else sql, parameters

    event.listen(sessions.engine, "before_cursor_execute", strip, retval=True)
    yield
    event.remove(sessions.engine, "before_cursor_execute", strip)


def race_for_the_last_seat(world):
    world.course(capacity=1)
    world.learner("ada")
    world.learner("bob")
    files = [world.send([row("ada")]), world.send([row("bob")])]
    numbers = [world.batch_ids(file)[0] for file in files]
    with looking_without_locks(world.sessions), meeting(world.sessions, "INSERT INTO enrollment"):
        together(*(partial(world.processor.process, number) for number in numbers))
    return sorted(world.answer(file) for file in files)


def test_a_worker_that_counts_and_then_inserts_is_found_out(postgres_world, monkeypatch):
    world = postgres_world
    monkeypatch.setattr(courses, "take_seats", count_without_looking)

    assert race_for_the_last_seat(world) == [IN, IN]

    assert world.faults() == [f"{COURSE} has 2 of 1 seats taken"]


def test_the_guard_alone_keeps_the_last_seat(postgres_world):
    world = postgres_world

    assert race_for_the_last_seat(world) == [IN, FULL]

    world.check()


def test_a_miscounted_course_is_found_out(world):
    world.course(capacity=5)
    world.ask(request("ada"))
    world.work()
    with world.sessions.begin() as session:
        session.execute(update(CourseRow).values(seats_taken=0))

    assert world.faults() == [f"{COURSE} counts 0 seats, but 1 are taken"]


def test_a_lost_event_is_found_out(world):
    world.course()
    world.ask(request("ada"))
    world.work()
    with world.sessions.begin() as session:
        session.connection().exec_driver_sql("DELETE FROM event")

    assert len(world.faults()) == 4
