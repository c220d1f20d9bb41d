"""dry_run: every outcome as it would be, and nothing but the outcomes is written."""

import random
import sqlite3
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select, update

from enrollment.domain.codes import Code, Lane, Reason, State
from enrollment.domain.model import Invitation
from enrollment.runtime import failpoints
from enrollment.storage import cancellation, invitations
from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.tables import Base, BatchRow
from schemas.encoding.compact import pack_json
from tests.support.in_process_service import (
    ADMIN,
    COURSE,
    OTHER,
    SERVER,
    World,
    hours_ago,
    request,
    row,
)
from tests.support.maintenance_env import MaintenanceEnv
from tests.support.migrated_databases import migrated_sqlite
from worker.processing import dry_run_overlay
from worker.processing.processor import Processor

#: What a dry run may write: itself.
OWN = {"submission", "batch"}
#: Each example has its own database.
NUMBERS = count()


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


@pytest.fixture
def two_a_batch(world):
    world.batch_rows = 2
    return world


@pytest.fixture
def other_worker(two_a_batch):
    """Makes processors that know nothing of each other, as other processes would."""
    made = []

    def make():
        made.append(Processor(sessions=two_a_batch.sessions))
        return made[-1]

    yield make
    for processor in made:
        processor.transaction.overlays.close()


def everything(world):
    """Every row of every table but what a submission is made of."""
    with world.sessions.read() as session:
        return {
            table.name: sorted(map(repr, session.execute(select(*table.c))))
            for table in Base.metadata.sorted_tables
            if table.name not in OWN
        }


def tried(world, rows, **how):
    """The outcomes of a dry run, after which everything else is as it was."""
    before = everything(world)
    submission_id = world.send(rows, dry_run=True, **how)
    world.work()
    assert everything(world) == before
    assert world.submission(submission_id).state is State.DONE
    return submission_id


def same_as_for_real(world, rows, **how):
    """A dry run, and then the same file for real: the outcomes of both."""
    trial = tried(world, rows, **how)
    real = world.send(rows, **how)
    world.work()
    world.check()
    assert world.outcomes(trial) == world.outcomes(real)
    assert world.submission(trial).tally == world.submission(real).tally
    return world.outcomes(trial)


def test_nothing_is_changed_and_every_outcome_is_given(world):
    world.course()
    trial = tried(world, [row("ada"), row("bob"), row("cem", "course-v1:No+No+No")])
    assert world.codes(trial) == [Code.ENROLLED, Code.ENROLLED, Code.REFUSED]
    assert world.enrollments() == {}
    assert world.events() == []
    assert world.submission(trial).options.as_json()["dry_run"] is True
    world.check()


def test_rows_see_what_earlier_rows_of_other_batches_would_have_done(two_a_batch):
    two_a_batch.course(modes=["audit", "verified"])
    rows = [
        row("ada", mode="audit"),
        row("bob"),
        row("ada", mode="audit"),
        row("ada", mode="verified"),
        row("bob", is_active=False),
        row("bob", is_active=False),
        row("bob"),
        row("ada", mode="audit", is_active=False),
    ]
    outcomes = same_as_for_real(two_a_batch, rows)
    assert [outcome.code for outcome in outcomes] == [
        Code.ENROLLED,
        Code.ENROLLED,
        Code.UNCHANGED,
        Code.MODE_CHANGED,
        Code.DEACTIVATED,
        Code.UNCHANGED,
        Code.REACTIVATED,
        Code.REFUSED,
    ]


def test_seats_are_counted_over_the_whole_file(two_a_batch):
    two_a_batch.course(capacity=3)
    two_a_batch.send([row("zoe")])
    two_a_batch.work()
    names = ["ada", "bob", "cem", "dora"]
    rows = [row(name) for name in names] + [row("ada", is_active=False), row("eva"), row("finn")]
    outcomes = same_as_for_real(two_a_batch, rows)
    full = [outcome.user for outcome in outcomes if outcome.reason is Reason.COURSE_FULL]
    assert full == ["cem", "dora", "finn"]


def test_an_invitation_that_an_earlier_row_would_have_used_is_used(two_a_batch):
    two_a_batch.course(invite_only=True)
    two_a_batch.learner("ada", "ada@example.org")
    with two_a_batch.sessions.begin() as session:
        invitation = Invitation(COURSE, "ada@example.org")
        invitations.save(session, invitation, now=hours_ago(1))
    rows = [row("ada"), row("bob"), row("ada", is_active=False), row("bob"), row("ada")]
    outcomes = same_as_for_real(two_a_batch, rows)
    assert [outcome.code for outcome in outcomes][::2] == [
        Code.ENROLLED,
        Code.DEACTIVATED,
        Code.REACTIVATED,
    ]


def test_a_row_that_cannot_be_read_and_one_of_nobody_are_told_as_ever(two_a_batch):
    two_a_batch.course()
    content = (
        b"user,email,course_id,is_active\n"
        b"ada,,course-v1:Uni+Algebra+2026,perhaps\n"
        b",nobody@example.org,course-v1:Uni+Algebra+2026,\n"
        b"bob,,course-v1:Uni+Algebra+2026,\n"
    )
    outcomes = same_as_for_real(two_a_batch, content)
    assert [outcome.code for outcome in outcomes] == [Code.INVALID, Code.REFUSED, Code.ENROLLED]


@pytest.mark.parametrize("spoiled", [False, True])
def test_all_or_nothing_is_tried_out_too(world, spoiled):
    world.course(capacity=3)
    rows = [row("ada"), row("bob"), row("cem")] + ([row("dora")] if spoiled else [])
    outcomes = same_as_for_real(world, rows, on_error="abort")
    assert {outcome.code for outcome in outcomes} == {Code.REFUSED if spoiled else Code.ENROLLED}


def test_what_others_change_meanwhile_is_seen_by_the_batches_after_it(two_a_batch):
    two_a_batch.course(capacity=4)
    trial = two_a_batch.send([row(name) for name in ("ada", "bob", "cem", "dora")], dry_run=True)
    first, second = two_a_batch.batch_ids(trial)
    two_a_batch.deliver(first)
    two_a_batch.send([row("zoe")], caller=SERVER)
    two_a_batch.deliver(*[number for number in two_a_batch.waiting() if number != second])
    two_a_batch.deliver(second)
    assert two_a_batch.codes(trial) == [Code.ENROLLED] * 3 + [Code.REFUSED]
    two_a_batch.check()


# --- whoever works on it, and whatever happens meanwhile ----------------------------------


def test_each_batch_may_be_worked_on_by_another_process(two_a_batch, other_worker):
    two_a_batch.course(capacity=2)
    rows = [row(f"u{n % 5}", is_active=n % 3 != 2) for n in range(11)]
    trial = two_a_batch.send(rows, dry_run=True)
    workers = [other_worker() for _ in range(3)]
    rng = random.Random(7)
    for number in two_a_batch.batch_ids(trial):
        rng.choice(workers).process(number)
    real = two_a_batch.send(rows)
    two_a_batch.work()
    assert two_a_batch.outcomes(trial) == two_a_batch.outcomes(real)


def test_reading_back_takes_turns_so_that_singles_get_in_between(
    two_a_batch, other_worker, monkeypatch
):
    monkeypatch.setattr(dry_run_overlay, "BATCHES_PER_LOAD", 2)
    two_a_batch.course(capacity=1)
    trial = two_a_batch.send([row(f"u{n}") for n in range(14)], dry_run=True)
    *early, last = two_a_batch.batch_ids(trial)
    two_a_batch.deliver(*early)
    stranger = other_worker()
    turns = [stranger.process(last) for _ in range(3)]
    assert [done.batch_ids for done in turns] == [(), (), (last,)]
    assert [[waiting.id for waiting in done.next] for done in turns] == [[last], [last], []]
    assert two_a_batch.codes(trial) == [Code.ENROLLED] + [Code.REFUSED] * 13


def test_reading_back_is_no_failed_try_of_the_batch(two_a_batch, other_worker, monkeypatch):
    monkeypatch.setattr(dry_run_overlay, "BATCHES_PER_LOAD", 1)
    two_a_batch.course()
    trial = two_a_batch.send([row(f"u{n}") for n in range(12)], dry_run=True)
    *early, last = two_a_batch.batch_ids(trial)
    two_a_batch.deliver(*early)
    with two_a_batch.sessions.begin() as session:  # as if the sweeper had announced it again
        session.execute(update(BatchRow).where(BatchRow.id == last).values(repeats=3))
    stranger = other_worker()
    while not stranger.process(last).batch_ids:
        assert two_a_batch.batches(trial)[-1].attempts == 0
    assert two_a_batch.submission(trial).state is State.DONE


def test_a_message_in_turn_goes_on_with_the_file_it_reads_back(
    two_a_batch, other_worker, monkeypatch
):
    monkeypatch.setattr(dry_run_overlay, "BATCHES_PER_LOAD", 2)
    two_a_batch.course()
    trial = two_a_batch.send([row(f"u{n}") for n in range(12)], dry_run=True)
    *early, last = two_a_batch.batch_ids(trial)
    two_a_batch.deliver(*early)
    done = list(other_worker().process_in_turn(last))
    assert done[-1].batch_ids == (last,)


def test_a_commit_that_fails_leaves_no_trace(two_a_batch, armed):
    two_a_batch.course(capacity=1)
    trial = two_a_batch.send([row("ada"), row("bob"), row("ada"), row("bob")], dry_run=True)
    first, second = two_a_batch.batch_ids(trial)
    for number in (first, second):
        armed("work.before_commit=raise")
        two_a_batch.deliver(number)
        assert number in two_a_batch.waiting()
        armed("")
        two_a_batch.deliver(number)
    assert two_a_batch.codes(trial) == [Code.ENROLLED, Code.REFUSED, Code.UNCHANGED, Code.REFUSED]


def test_an_overlay_that_breaks_is_read_anew(two_a_batch, monkeypatch):
    two_a_batch.course()
    trial = two_a_batch.send([row(f"u{n}") for n in range(6)], dry_run=True)
    two_a_batch.deliver(two_a_batch.batch_ids(trial)[0])

    def breaks(*_):
        raise sqlite3.OperationalError("disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(dry_run_overlay.Overlay, "add", breaks)
        two_a_batch.deliver(two_a_batch.batch_ids(trial)[1])
    assert two_a_batch.submission(trial).state is State.RUNNING
    two_a_batch.work()
    assert two_a_batch.codes(trial) == [Code.ENROLLED] * 6


# --- more dry runs than one process keeps overlays for ------------------------------------


class Crowd:
    """More dry runs of three batches than a process keeps overlays, which are all in use."""

    def __init__(self, world, monkeypatch):
        monkeypatch.setattr(dry_run_overlay, "MAX_OVERLAYS", 2)
        world.one_at_a_time()
        world.course()
        self.world = world
        self.seconds = 0.0
        self.overlays = dry_run_overlay.Overlays(lambda: self.seconds)
        transaction = replace(world.processor.transaction, overlays=self.overlays)
        world.processor = replace(world.processor, transaction=transaction)
        rows = [row("ada"), row("bob"), row("ada"), row("cem"), row("bob")]
        self.trials = [world.send(rows, dry_run=True) for _ in range(3)]
        for trial in self.trials:
            self.deliver(trial, 0)
        for trial in self.trials[:2]:
            self.deliver(trial, 1)

    def number(self, trial, ordinal):
        return self.world.batch_ids(trial)[ordinal]

    def deliver(self, trial, ordinal):
        (done,) = self.world.deliver(self.number(trial, ordinal))
        return done

    def open(self):
        return list(self.overlays._open)

    def check(self):
        """Everything is processed in the end, as if each dry run were the only one."""
        self.world.work()
        for trial in self.trials:
            assert self.world.codes(trial) == [
                Code.ENROLLED, Code.ENROLLED, Code.UNCHANGED, Code.ENROLLED, Code.UNCHANGED
            ]  # fmt: skip


@pytest.fixture
def crowd(two_a_batch, monkeypatch):
    return Crowd(two_a_batch, monkeypatch)


@pytest.fixture
def long_ones(crowd, monkeypatch):
    """The same, where reading any of them back would take long."""
    monkeypatch.setattr(dry_run_overlay, "SMALL_BATCHES", 1)
    return crowd


def test_a_first_batch_needs_no_overlay(crowd):
    assert crowd.open() == crowd.trials[:2]
    assert [len(crowd.world.codes(trial)) for trial in crowd.trials] == [4, 4, 2]


def test_a_small_overlay_gives_way_the_cheapest_first(crowd):
    first, second, third = crowd.trials
    crowd.deliver(first, 2)
    more = crowd.world.send([row(f"u{n}") for n in range(8)], dry_run=True)
    for ordinal in range(3):
        crowd.deliver(more, ordinal)
    assert crowd.open() == [second, more]

    assert crowd.deliver(third, 1).batch_ids == (crowd.number(third, 1),)

    assert crowd.open() == [more, third]
    crowd.check()


def test_where_no_overlay_gives_way_the_batch_goes_to_the_end_of_the_queue(long_ones):
    third = long_ones.trials[2]
    number = long_ones.number(third, 1)
    bench = MaintenanceEnv(long_ones.world)
    with long_ones.world.sessions.begin() as session:  # all of them are overdue
        overdue = {"announced_at": hours_ago(1), "waiting_since": hours_ago(1)}
        session.execute(update(BatchRow).where(BatchRow.answered_at.is_(None)).values(overdue))

    (done,) = list(long_ones.world.processor.process_in_turn(number))

    assert (done.batch_ids, [waiting.id for waiting in done.next]) == ((), [number])
    assert long_ones.world.batches(third)[1].attempts == 0
    assert number not in bench.sweep()  # its message is on the queue
    assert long_ones.open() == long_ones.trials[:2]
    long_ones.check()


def test_the_overlay_of_a_dry_run_that_another_worker_finished_gives_way(long_ones, other_worker):
    first, second, third = long_ones.trials
    other_worker().process(long_ones.number(first, 2))

    assert long_ones.deliver(third, 1).batch_ids == (long_ones.number(third, 1),)

    assert long_ones.open() == [second, third]
    long_ones.check()


def test_an_overlay_that_nobody_asks_for_gives_way(long_ones):
    _, second, third = long_ones.trials
    long_ones.seconds += dry_run_overlay.IDLE_SECONDS / 2
    long_ones.overlays._open[second].used_at = long_ones.seconds
    long_ones.seconds += dry_run_overlay.IDLE_SECONDS / 2

    assert long_ones.deliver(third, 1).batch_ids == (long_ones.number(third, 1),)

    assert long_ones.open() == [second, third]
    long_ones.check()


def test_a_worker_that_ends_closes_its_overlays_and_another_reads_them_back(
    two_a_batch, other_worker
):
    two_a_batch.course(capacity=1)
    trial = two_a_batch.send([row("ada"), row("bob")] * 3, dry_run=True)
    *early, last = two_a_batch.batch_ids(trial)
    ending = other_worker()
    for number in early:
        ending.process(number)
    (overlay,) = ending.transaction.overlays._open.values()

    ending.transaction.overlays.close()

    assert not ending.transaction.overlays._open
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        overlay.add(pack_json([]))
    other_worker().process(last)
    assert (
        two_a_batch.codes(trial)
        == [Code.ENROLLED, Code.REFUSED]
        + [
            Code.UNCHANGED,
            Code.REFUSED,
        ]
        * 2
    )


def test_it_can_be_cancelled(two_a_batch):
    two_a_batch.course()
    before = everything(two_a_batch)
    trial = two_a_batch.send([row(f"u{n}") for n in range(6)], dry_run=True)
    two_a_batch.deliver(two_a_batch.batch_ids(trial)[0])
    with two_a_batch.sessions.begin() as session:
        cancellation.request_cancel(session, trial, None, now=hours_ago(0))
    two_a_batch.work()
    shown = two_a_batch.submission(trial)
    assert (shown.state, shown.tally.counts[Code.CANCELLED]) == (State.CANCELLED, 4)
    assert everything(two_a_batch) == before
    two_a_batch.check()
    assert not two_a_batch.processor.transaction.overlays._open


def test_it_waits_in_the_bulk_lane_however_small_and_is_judged_with_nobody_else(world):
    world.course()
    trial = world.send([row("ada")], dry_run=True, lane=None)
    assert {batch.lane for batch in world.batches(trial)} == {Lane.BULK}
    hurried = world.send([row("ada")], dry_run=True, lane=Lane.INTERACTIVE)
    (single,) = world.ask(request("bob"))
    world.work()
    assert world.codes(trial) == world.codes(hurried) == world.codes(single) == [Code.ENROLLED]
    assert list(world.enrollments()) == [(COURSE, "bob")]


def test_no_course_is_locked(postgres_world):
    postgres_world.course(capacity=1)
    trial = postgres_world.send([row("ada"), row("bob")], dry_run=True)
    executed = []
    event.listen(
        postgres_world.sessions.engine,
        "before_cursor_execute",
        lambda _connection, _cursor, sql, *_: executed.append(sql),
    )
    postgres_world.work()
    locking = [sql for sql in executed if "FOR UPDATE" in sql]
    assert all("FROM batch" in sql for sql in locking)
    writing = [sql for sql in executed if sql.startswith(("INSERT", "UPDATE", "DELETE"))]
    assert {sql.split()[1] for sql in writing} == {"batch", "submission"}
    assert postgres_world.submission(trial).state is State.DONE


# --- any file -----------------------------------------------------------------------------

WISHES = st.fixed_dictionaries(
    {
        "user": st.sampled_from(["ada", "bob", "cem", "dora"]),
        "course_id": st.sampled_from([COURSE, OTHER, "course-v1:No+No+No", "no"]),
    },
    optional={
        "is_active": st.booleans(),
        "mode": st.sampled_from(["audit", "verified", "gold"]),
        "cohort": st.sampled_from(["A", "Z"]),
        "requested_at": st.integers(0, 5).map(hours_ago),
        "force_enrollment": st.booleans(),
    },
)


@given(
    earlier=st.lists(WISHES, max_size=5),
    rows=st.lists(WISHES, min_size=1, max_size=14),
    capacity=st.integers(0, 3),
    how=st.sampled_from(
        [{}, {"on_error": "abort"}, {"default_mode": "verified"}, {"caller": SERVER}]
    ),
)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_dry_run_of_any_file_says_what_the_file_then_does(tmp_path, earlier, rows, capacity, how):
    url = migrated_sqlite(tmp_path / f"{next(NUMBERS)}.sqlite3")
    sessions = sessions_for(url)
    world = World(sessions, batch_rows=3)
    world.course(COURSE, modes=["audit", "verified"], cohorts=("A",), capacity=capacity)
    world.course(OTHER, invite_only=True)
    world.learner("ada", "ada@example.org")
    with sessions.begin() as session:
        invitations.save(session, Invitation(OTHER, "ada@example.org"), now=hours_ago(1))
    if earlier:
        world.send(earlier, caller=ADMIN)
        world.work()
    same_as_for_real(world, rows, **how)
    world.close()
    sessions.dispose()
