"""Rows that were completed lately are counted by slices of time, at a bounded cost."""

from datetime import timedelta

from sqlalchemy import select, update

from enrollment.storage.engine.sessions import database_now
from enrollment.storage.queue import throughput
from enrollment.storage.queue.throughput import load_throughput
from enrollment.storage.tables import BatchRow
from tests.support.gateway import fresh
from tests.support.in_process_service import request, row
from tests.support.statements import recorded_statements


def rows(world):
    with world.sessions.read() as session:
        found = load_throughput(session, slices=3, seconds=60)
    return found.rows, found.is_complete


def move(world, *ages):
    """Lets the batches have been completed so many seconds ago, in the order of their ids."""
    with world.sessions.begin() as session:
        now = database_now(session)
        answered = select(BatchRow.id).where(BatchRow.answered_at.is_not(None))
        for number, age in zip(session.scalars(answered.order_by(BatchRow.id)), ages, strict=True):
            at = now - timedelta(seconds=age)
            session.execute(update(BatchRow).where(BatchRow.id == number).values(answered_at=at))


def test_without_any_work_nothing_was_completed(world):
    world.ask(request("ada"))

    assert rows(world) == ((0, 0, 0), True)


def test_single_requests_and_files_are_counted_in_their_minute(world):
    world.course()
    world.ask(request("ada"))
    world.work()
    world.send([row("bob"), row("cem"), row("dan")])
    world.work()

    assert rows(world) == ((0, 0, 4), True)
    move(world, 150, 70)
    assert rows(world) == ((1, 3, 0), True)
    move(world, 150, 200)
    assert rows(world) == ((1, 0, 0), True)


def test_a_file_that_is_running_is_counted_as_far_as_it_is(world):
    world.course()
    world.batch_rows = 2
    world.send([row("ada"), row("bob"), row("cem"), row("dan"), row("eve")])
    world.one_at_a_time()
    for _ in range(2):
        world.deliver(*world.waiting())

    assert rows(world) == ((0, 0, 4), True)


def test_many_files_need_no_more_statements_than_one(world):
    world.course()
    counted = []
    for _ in range(3):
        world.send([row(fresh("ada"))])
        world.work()
        with recorded_statements(world.sessions.engine) as statements:
            assert rows(world)[1]
        counted.append(len(statements))

    assert counted[0] == counted[-1]


def test_counting_ends_somewhere_and_says_so(world, monkeypatch):
    world.course()
    world.batch_rows = 1
    world.send([row("ada"), row("bob"), row("cem")])
    world.work()
    monkeypatch.setattr(throughput, "MAX_FILE_BATCHES", 2)

    assert rows(world) == ((0, 0, 2), False)
    monkeypatch.setattr(throughput, "MAX_SINGLE_BATCHES", 1)
    world.ask(request("eve"))
    world.work()
    assert rows(world) == ((0, 0, 3), False)
