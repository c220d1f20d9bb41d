"""What was accepted is found again and answered in the end; what cannot be is set aside."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from enrollment.domain.codes import Code, Lane
from enrollment.runtime.broker import REDISPATCH_LIMITS
from enrollment.storage.tables import BatchRow, EventRow, IdempotencyRow, SubmissionRow
from tests.support.breakpoints import together
from tests.support.in_process_service import request, row
from tests.support.maintenance_env import FORGOTTEN, MaintenanceEnv
from worker.maintenance import MinInterval

ENROLLED = Code.ENROLLED
#: How long no worker takes a message.
STANDSTILL_SECONDS = 600


@pytest.fixture
def bench(world):
    world.course()
    return MaintenanceEnv(world)


# --- sweeping -----------------------------------------------------------------------------


def test_what_was_just_announced_is_left_alone(bench):
    bench.world.ask(request("ada"))

    assert bench.sweep() == []


def test_what_was_forgotten_is_announced_again_in_its_lane(bench):
    (single,) = bench.world.ask(request("ada"))
    file = bench.world.send([row("bob")])
    bench.pass_time(**FORGOTTEN)

    bench.sweep()

    assert [(waiting.id, waiting.lane) for waiting in bench.rung] == [
        (bench.world.batch_ids(single)[0], Lane.INTERACTIVE),
        (bench.world.batch_ids(file)[0], Lane.BULK),
    ]


def test_what_was_announced_again_is_given_its_time(bench):
    bench.world.ask(request("ada"))
    bench.pass_time(**FORGOTTEN)

    assert len(bench.sweep()) == 1
    assert bench.sweep() == []


def test_what_is_answered_is_never_announced_again(bench):
    bench.world.ask(request("ada"))
    bench.world.send([row("bob")])
    bench.world.work()
    bench.pass_time(**FORGOTTEN)

    assert bench.sweep() == []


def test_of_a_file_only_the_batch_whose_turn_it_is_is_announced_again(bench):
    bench.world.batch_rows = 1
    file = bench.world.send([row("ada"), row("bob"), row("eve")])
    first, second, _ = bench.world.batch_ids(file)
    bench.pass_time(**FORGOTTEN)

    assert bench.sweep() == [first]
    bench.world.deliver(first)
    bench.pass_time(**FORGOTTEN)
    assert bench.sweep() == [second]


def test_when_every_message_is_lost_everything_is_answered_all_the_same(bench):
    bench.world.batch_rows = 2
    file = bench.world.send([row(f"learner{n}") for n in range(7)])
    (single,) = bench.world.ask(request("ada"))

    while bench.world.waiting():
        bench.pass_time(**FORGOTTEN)
        bench.world.deliver(*bench.sweep())

    assert bench.world.codes(file) == [ENROLLED] * 7
    assert bench.world.codes(single) == [ENROLLED]
    bench.world.check()


def test_one_sweep_announces_only_so_many_and_the_next_the_others(bench):
    limit = REDISPATCH_LIMITS[Lane.BULK]
    for n in range(limit + 1):
        bench.world.send([row(f"learner{n}")])
    bench.pass_time(**FORGOTTEN)

    first, second = bench.sweep(), bench.sweep()

    assert (len(first), len(second)) == (limit, 1)
    assert sorted(first + second) == bench.world.waiting()


def test_the_interactive_lane_needs_few_messages_and_the_oldest_come_first(bench):
    for n in range(30):
        bench.world.ask(request(f"learner{n}"))
    bench.pass_time(**FORGOTTEN)

    swept = bench.sweep()

    assert swept == bench.world.waiting()[: REDISPATCH_LIMITS[Lane.INTERACTIVE]]
    bench.world.deliver(swept[0])
    assert bench.world.waiting() == []


def test_messages_do_not_pile_up_while_no_worker_takes_them(bench):
    world = bench.world
    for n in range(300):
        world.ask(request(f"learner{n}"))
        world.send([row(f"member{n}")])
    bench.pass_time(**FORGOTTEN)

    for _ in range(STANDSTILL_SECONDS // FORGOTTEN["seconds"]):
        bench.sweep_without_workers()
        bench.pass_time(**FORGOTTEN)  # everything is overdue again

    assert {lane: len(them) for lane, them in bench.queues.items()} == REDISPATCH_LIMITS
    while waiting := world.waiting():
        world.deliver(*bench.take_messages())
        assert len(world.waiting()) < len(waiting)
        bench.pass_time(**FORGOTTEN)
        bench.sweep_without_workers()
    assert len(world.events()) == len(world.enrollments()) == 600
    assert {batch.attempts for batch in world.batches()} == {0}
    world.check()


def test_a_lost_message_is_sent_again_however_many_others_wait_in_a_short_queue(bench):
    lane = Lane.BULK
    lost = bench.world.batch_ids(bench.world.send([row("ada")]))
    bench.pass_time(**FORGOTTEN)
    others = [bench.world.send([row(f"u{n}")]) for n in range(3)]
    bench.queues[lane] = [number for other in others for number in bench.world.batch_ids(other)]

    assert bench.sweep_without_workers() == lost


def test_while_the_queue_is_away_nothing_is_lost(bench):
    bench.world.ask(request("ada"))
    bench.world.ask(request("bob"))
    bench.pass_time(**FORGOTTEN)
    bench.queue_is_away = True
    assert bench.sweep() == []

    bench.queue_is_away = False

    assert bench.sweep() == bench.world.waiting()


def test_two_sweepers_at_once_announce_everything_once(bench):
    for n in range(10):
        bench.world.send([row(f"learner{n}")])
    bench.pass_time(**FORGOTTEN)
    others = [MaintenanceEnv(bench.world) for _ in range(2)]

    announced = together(*(other.sweep for other in others))

    assert sorted(announced[0] + announced[1]) == bench.world.waiting()


def test_sweeps_that_piled_up_while_nobody_worked_are_one():
    now = 100.0
    seldom = MinInterval(1.0, lambda: now)

    assert [seldom.lets_through() for _ in range(3)] == [True, False, False]
    now += 1.0
    assert seldom.lets_through()


# --- tidying ------------------------------------------------------------------------------


def kept(world):
    with world.sessions.read() as session:
        return [
            session.scalar(select(func.count()).select_from(table))
            for table in (SubmissionRow, BatchRow, IdempotencyRow, EventRow)
        ]


def test_what_is_over_is_kept_for_a_while_and_its_events_for_ever(world):
    world.course()
    bench = MaintenanceEnv(world, retention=timedelta(days=30))
    world.ask(request("ada"))
    world.publish([row("bob")], key="k")
    world.work()

    bench.pass_time(days=29)
    bench.purge_all()
    assert kept(world) == [2, 2, 0, 2]
    bench.pass_time(days=31)
    bench.purge_all()
    assert kept(world) == [0, 0, 0, 2]


def test_what_is_not_answered_is_never_deleted(world):
    bench = MaintenanceEnv(world)
    world.ask(request("ada"))
    world.batch_rows = 1
    world.send([row("bob"), row("eve")])
    world.deliver(*world.waiting()[:1])
    bench.pass_time(days=400)

    bench.purge_all()

    assert kept(world)[:2] == [1, 2]


def test_keys_are_kept_for_a_week(world):
    bench = MaintenanceEnv(world)
    world.publish([row("bob")], key="k")

    bench.pass_time(days=6)
    bench.purge_all()
    assert kept(world)[2] == 1
    bench.pass_time(days=8)
    bench.purge_all()
    assert kept(world)[2] == 0


def test_a_key_never_outlives_the_submission_that_it_stands_for(world):
    bench = MaintenanceEnv(world, retention=timedelta(days=1))
    world.course()
    world.publish([row("bob")], key="k")
    world.work()
    bench.pass_time(days=2)

    bench.purge_all()

    assert kept(world)[:3] == [0, 0, 0]
