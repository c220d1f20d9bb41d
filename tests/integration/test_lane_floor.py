"""Claims begin at the floor of their lane, and still find every batch."""

from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import event, insert, text, update

from enrollment.storage.engine.sessions import database_now
from enrollment.storage.queue import quarantine
from enrollment.storage.queue.lane_floor import FULL_SEARCH_INTERVAL, LaneFloor
from enrollment.storage.tables import BatchRow
from tests.support.filled_tables import plain
from tests.support.in_process_service import World, hours_ago, request, row


class Clock:
    """The monotonic clock of a worker process."""

    now = 0.0

    def __call__(self):
        return self.now


def process_of(world, clock):
    """A processor with floors of its own, as another process has."""
    return replace(world.processor, claim_floor=LaneFloor(clock), waiting_floor=LaneFloor(clock))


@pytest.fixture
def clock(world):
    made = Clock()
    world.processor = process_of(world, made)
    world.course()
    return made


def single(world, user):
    """The batch of a single request."""
    (submission_id,) = world.ask(request(user))
    return world.batch_ids(submission_id)[0]


def change(world, batch_id, **values):
    with world.sessions.begin() as session:
        session.execute(update(BatchRow).where(BatchRow.id == batch_id).values(**values))


def released(world, batch_id):
    with world.sessions.begin() as session:
        assert quarantine.retry(session, [batch_id]) == [batch_id]


def parked_long_ago(world):
    """A parked batch that waits since an hour."""
    batch_id = single(world, "old")
    change(world, batch_id, parked_at=hours_ago(1), waiting_since=hours_ago(1))
    return batch_id


def test_a_released_batch_is_claimed_by_its_message_at_once(world, clock):
    old = parked_long_ago(world)
    world.deliver(single(world, "ada"))
    released(world, old)

    world.deliver(single(world, "bob"))
    assert world.waiting() == [old]  # below the floor
    (done,) = world.deliver(old)
    assert list(done.batch_ids) == [old]


def test_the_message_of_an_old_batch_claims_all_that_waits_since_then(world, clock):
    old = parked_long_ago(world)
    world.deliver(single(world, "ada"))
    released(world, old)
    new = single(world, "bob")

    (done,) = world.deliver(old)
    assert list(done.batch_ids) == [old, new]


def test_a_released_batch_is_claimed_within_a_second_whatever_the_message(world, clock):
    old = parked_long_ago(world)
    first = single(world, "ada")
    world.deliver(first)
    released(world, old)
    clock.now += FULL_SEARCH_INTERVAL

    world.deliver(first)  # a second delivery
    assert world.waiting() == []


def test_an_attempt_at_another_batch_does_not_hide_those_behind_it(world, clock):
    """The batch of the message is attempted elsewhere; the next search begins no later."""
    world.deliver(single(world, "ada"))
    old, next_ = single(world, "old"), single(world, "bob")
    for batch_id in (old, next_):
        change(world, batch_id, announced_at=hours_ago(1), waiting_since=hours_ago(1))
    with world.sessions.attempt_locks.scope() as locks:
        locks.acquire([old])
        world.deliver(old)

        assert world.waiting() == [old]


def test_a_batch_that_commits_a_few_seconds_late_is_claimed_by_any_message(world, clock):
    first = single(world, "ada")
    world.deliver(first)
    late = single(world, "bob")
    change(world, late, waiting_since=hours_ago(5 / 3600))

    world.deliver(first)
    assert world.waiting() == []


def transactions_of_a_turn(world, name):
    """How many transactions a message of a file takes that has three batches."""
    file = world.send([row(f"{name}{n}") for n in range(3)])
    first, *_ = world.batch_ids(file)
    return len(list(world.processor.process_in_turn(first)))


@pytest.fixture
def long_turns(monkeypatch):
    """Turns end by what waits, however slow the machine is."""
    monkeypatch.setattr("worker.processing.processor.TURN_SECONDS", 3_600.0)


@pytest.mark.usefixtures("long_turns")
def test_a_file_lets_a_released_batch_of_singles_pass_within_a_second(world, clock):
    world.batch_rows = 1
    world.one_at_a_time()
    old = parked_long_ago(world)
    assert transactions_of_a_turn(world, "a") == 3
    released(world, old)

    clock.now += FULL_SEARCH_INTERVAL
    assert transactions_of_a_turn(world, "b") == 1
    assert transactions_of_a_turn(world, "c") == 1


# --- transactions that overlap ----------------------------------------------------------------


def test_a_batch_that_was_locked_during_the_full_search_is_claimed_by_the_next(postgres_world):
    world, clock = postgres_world, Clock()
    world.processor = process_of(world, clock)
    world.course()
    old = single(world, "old")
    change(world, old, waiting_since=hours_ago(1))
    with world.sessions.begin() as session:  # a worker that dies
        session.execute(text("SELECT FROM batch WHERE id = :old FOR UPDATE"), {"old": old})
        first = single(world, "ada")
        world.deliver(first)
        assert world.waiting() == [old]
        session.rollback()

    world.deliver(first)
    assert world.waiting() == [old]
    clock.now += FULL_SEARCH_INTERVAL
    world.deliver(first)
    assert world.waiting() == []


def test_a_batch_that_commits_after_others_that_began_later_is_claimed_with_them(postgres_world):
    world = postgres_world
    world.processor = process_of(world, Clock())
    world.course()
    first = single(world, "ada")
    with world.sessions.begin() as session:
        started = database_now(session)
        world.deliver(first)  # the full search; it does not see the batch
        later = single(world, "bob")
        late = add_copy(session, first, waiting_since=started)
    world.deliver(later)

    assert world.waiting() == []
    assert late in {batch.id for batch in world.batches() if batch.answered}


def add_copy(session, batch_id, **values):
    """Adds a batch with the payload of another one that is completed."""
    columns = BatchRow.__table__.c
    like = session.execute(
        BatchRow.__table__.select()
        .with_only_columns(columns.requests, columns.payload, columns.lane)
        .where(columns.id == batch_id)
    ).one()
    new = {**like._mapping, **values, "announced_at": values["waiting_since"]}
    return session.scalars(insert(BatchRow.__table__).returning(columns.id), new).one()


# --- what it costs ----------------------------------------------------------------------------

#: Batches of singles that wait, and then all of them completed, as workers do that.
_WAITING = """
INSERT INTO batch (lane, requests, payload, announced_at, waiting_since)
SELECT 'interactive', 1, repeat('x', 200)::bytea, began, began FROM
(SELECT now() - interval '5 minutes' - n * interval '1 millisecond' AS began
FROM generate_series(1, %s) AS n)
"""
_COMPLETED = """
UPDATE batch SET answered_at = now(), outcomes = '' WHERE answered_at IS NULL
AND lane = 'interactive'
"""


@contextmanager
def old_snapshot(url, completed):
    """Completes batches while a transaction is open that sees the past."""
    with psycopg.connect(url, autocommit=True) as writer, psycopg.connect(url) as reader:
        writer.execute(_WAITING, [completed])
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT FROM batch LIMIT 1")
        writer.execute(_COMPLETED)
        writer.execute("VACUUM ANALYZE batch")
        yield


@contextmanager
def explained(world, beginning):
    """Collects the pages that statements with this beginning read during the block."""
    pages = []

    def explain(_connection, cursor, sql, parameters, *_):
        if sql.startswith(beginning):
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", parameters)
            plan = cursor.fetchone()[0][0]["Plan"]
            pages.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    event.listen(world.sessions.engine, "before_cursor_execute", explain)
    try:
        yield pages
    finally:
        event.remove(world.sessions.engine, "before_cursor_execute", explain)


def pages_of_turns(world: World, url, completed):
    """The pages that a worker reads for a single, and between two batches of a file."""
    world.processor = process_of(world, Clock())
    file = world.send([row(f"learner{completed}-{n}") for n in range(8)])
    first, *_ = world.batch_ids(file)
    with old_snapshot(url, completed):
        number = single(world, "ada")
        world.deliver(number)  # the full search
        with explained(world, "SELECT batch.id, batch.submission_id") as claims:
            world.deliver(single(world, "bob"))
        with explained(world, "SELECT batch.waiting_since") as waits:
            list(world.processor.process_in_turn(first))
    return claims, waits


@pytest.mark.usefixtures("long_turns")
def test_an_old_snapshot_does_not_make_claims_read_what_was_completed(
    postgres_world, migrated_postgres_url
):
    """Once a second one search reads all of it; the others read what the last seconds left."""
    world, url = postgres_world, plain(migrated_postgres_url)
    world.batch_rows = 1
    world.one_at_a_time()
    world.course()

    few, few_waits = pages_of_turns(world, url, 100)
    many, many_waits = pages_of_turns(world, url, 20_000)

    assert len(many) == len(few) == 2  # by id, and those of the lane
    assert sum(many) <= sum(few) + 8
    full, *others = many_waits
    assert len(others) >= 3
    assert full > 100 + max(others)
    assert max(others) <= max(few_waits) + 8
