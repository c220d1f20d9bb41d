"""Several batches of one file in one transaction come to what they come to one by one."""

import pytest
from sqlalchemy import update

from enrollment.domain.codes import Code, Lane, State
from enrollment.storage import cancellation
from enrollment.storage.queue import claims
from enrollment.storage.tables import BatchRow
from tests.integration.test_any_order import a_world
from tests.support.in_process_service import COURSE, OTHER, hours_ago, row

#: Whoever stands on one line comes back on others: changes chain over batches.
LIVELY = [
    row("ada"),
    row("bob"),
    row("ada", is_active=False),
    row("ada", OTHER),
    row("no one/", OTHER),
    row("ada", mode="verified"),
    row("bob", requested_at=hours_ago(30)),
    row("eve"),
    row("bob", is_active=False),
    row("eve", "course-v1:No+Such+Course"),
    row("ada", OTHER, mode="honor"),
    row("joe", OTHER, requested_at=hours_ago(-30)),
    row("", OTHER, email="ann@example.org"),
    row("", OTHER, email="nobody@example.org"),
    row("joe"),
    row("ann", OTHER, is_active=False),
    row("joe", OTHER, mode="no such mode"),
    row("", email="ANN@example.org", mode="audit"),
]


def set_up(world):
    world.batch_rows = 2
    world.course(COURSE, modes=["audit", "verified"], capacity=2)
    world.course(OTHER, modes=["audit", "honor"])
    world.learner("ann", "ann@example.org")


def come_to(world, **options):
    """What comes of the file, but for ids and moments."""
    set_up(world)
    file = world.send(LIVELY, **options)
    world.work()
    world.check()
    events = [
        (event.kind, event.course_id, event.username, event.line, event.before, event.after)
        for event in world.events()
    ]
    return world.outcomes(file), events, world.submission(file).tally


@pytest.mark.parametrize("batches", [2, 3, 4, 100])
def test_it_makes_no_difference_but_to_speed(world, batches):
    with a_world() as plain:
        plain.one_at_a_time()
        expected = come_to(plain)
    world.rows_at_a_time(2 * batches)

    assert come_to(world) == expected


def test_what_the_file_says_for_all_rows_holds_in_each_batch(world):
    with a_world() as plain:
        plain.one_at_a_time()
        expected = come_to(plain, default_mode="honor")
    world.rows_at_a_time(4)

    assert come_to(world, default_mode="honor") == expected


def test_a_transaction_answers_four_and_announces_the_fifth(world):
    set_up(world)
    world.rows_at_a_time(8)
    ids = world.batch_ids(file := world.send(LIVELY))

    (done,) = world.deliver(ids[0])

    assert (done.batch_ids, done.submission_ids) == (tuple(ids[:4]), (file,))
    assert [waiting.id for waiting in done.next] == [ids[4]]
    assert world.submission(file).state is State.RUNNING
    assert world.submission(file).tally.completed == 8


def test_nobody_elses_batch_is_taken_along(world):
    set_up(world)
    world.rows_at_a_time(8)
    mine, theirs = world.send(LIVELY), world.send(LIVELY)

    (done,) = world.deliver(world.batch_ids(theirs)[0])

    assert set(done.batch_ids) < set(world.batch_ids(theirs))
    assert world.submission(mine).state is State.QUEUED


@pytest.mark.parametrize("facts", [{"suspicion": {}}, {"parked_at": hours_ago(1)}, {"alone": True}])
def test_what_something_is_known_against_waits_for_its_own_turn(world, facts):
    set_up(world)
    world.rows_at_a_time(8)
    ids = world.batch_ids(world.send(LIVELY))
    with world.sessions.begin() as session:
        session.execute(update(BatchRow).where(BatchRow.id == ids[2]).values(**facts))

    (done,) = world.deliver(ids[0])

    assert done.batch_ids == tuple(ids[:2])
    assert [waiting.id for waiting in done.next] == [ids[2]]


def test_where_one_behind_fails_the_first_goes_on_without_it(world):
    set_up(world)
    world.rows_at_a_time(8)
    ids = world.batch_ids(file := world.send(LIVELY))
    with world.sessions.begin() as session:
        session.execute(update(BatchRow).where(BatchRow.id == ids[1]).values(payload=b"\xff"))

    (failed,) = world.deliver(ids[0])
    assert [waiting.id for waiting in failed.next] == [ids[0]]
    (done,) = world.deliver(ids[0])

    assert (done.batch_ids, [waiting.id for waiting in done.next]) == ((ids[0],), [ids[1]])
    assert {batch.attempts for batch in world.batches(file)[1:]} == {0}


def test_a_file_that_is_cancelled_is_counted_once(world):
    set_up(world)
    world.rows_at_a_time(8)
    ids = world.batch_ids(file := world.send(LIVELY))
    world.deliver(ids[0])
    with world.sessions.begin() as session:
        cancellation.request_cancel(session, file, None, now=hours_ago(0))

    world.work()

    counts = world.submission(file).tally.counts
    assert (counts[Code.CANCELLED], sum(counts.values())) == (len(LIVELY) - 8, len(LIVELY))
    assert world.submission(file).state is State.CANCELLED


def test_the_interactive_lane_takes_a_file_batch_by_batch(world):
    set_up(world)
    world.rows_at_a_time(8)
    ids = world.batch_ids(world.send(LIVELY, lane=Lane.INTERACTIVE))

    (done,) = world.deliver(ids[0])

    assert done.batch_ids == (ids[0],)


@pytest.mark.parametrize(
    ("batch_rows", "rows", "together"),
    [(1, 4, 4), (2, 4, 2), (3, 8, 2), (4, 7, 1), (5, 4, 1), (9, 100, 2), (1, 100, 18)],
)
def test_as_many_are_processed_together_as_come_to_so_many_rows(world, batch_rows, rows, together):
    set_up(world)
    world.batch_rows = batch_rows
    world.rows_at_a_time(rows)
    ids = world.batch_ids(world.send(LIVELY))

    (done,) = world.deliver(ids[0])

    assert done.batch_ids == tuple(ids[:together])


def test_batches_of_long_rows_are_not_processed_together_with_many_others(world, monkeypatch):
    set_up(world)
    ids = world.batch_ids(world.send(LIVELY))
    with world.sessions.begin() as session:
        (first,) = claims.claim(session, ids[0]).batches
        sizes = [len(batch.payload) for batch in claims.claim_successors(session, first, 100)]
        assert len(sizes) == len(ids) - 1
        limit = len(first.payload) + sum(sizes[:3])
        monkeypatch.setattr(claims, "MAX_CLAIMED_BYTES", limit)
        assert len(claims.claim_successors(session, first, 100)) == 3
        monkeypatch.setattr(claims, "MAX_SUCCESSORS", 2)
        assert len(claims.claim_successors(session, first, 100)) == 2
