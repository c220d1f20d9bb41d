"""The relay in the process of `enroll beat`, killed at each of its steps."""

import signal
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from enrollment.runtime.failpoints import Point
from enrollment.storage.tables import RelayPositionRow
from tests.support.in_process_service import World, row
from tests.support.relays import STREAM, positions, streamed
from tests.support.service_processes import PATIENCE, Running, bare, needs_proc, wait_until

pytestmark = [needs_proc, pytest.mark.slow]
POINTS = (Point.RELAY_READ, Point.RELAY_PUBLISHED, Point.RELAY_STORED)


@pytest.fixture
def world(sessions):
    made = World(sessions)
    yield made
    made.close()


@pytest.fixture
def start_beat(tmp_path, database_url, redis_url):
    started = []

    def start(failpoints=""):
        environment = bare(
            ENROLL_DATABASE_URL=database_url,
            ENROLL_REDIS_URL=redis_url,
            ENROLL_EVENT_STREAM=STREAM,
            ENROLL_FAILPOINTS=failpoints,
        )
        started.append(Running(tmp_path, ["beat"], environment).start())
        return started[-1]

    yield start
    for each in started:
        each.bury()


def change(world, active):
    world.send([row(f"learner{number}", is_active=active) for number in range(20)])
    world.work()


def test_a_relay_that_is_killed_anywhere_loses_and_reorders_nothing(world, start_beat, redis_url):
    world.course()
    for number, point in enumerate(POINTS):
        change(world, number % 2 == 0)
        assert start_beat(f"{point}=crash").process.wait(PATIENCE) == -signal.SIGKILL
        if point is not POINTS[-1]:  # after the last kill the next one waits for the lease
            with world.sessions.begin() as session:
                session.execute(
                    update(RelayPositionRow).values(held_until=datetime(2026, 1, 1, tzinfo=UTC))
                )
    change(world, active=False)

    beat, standby = start_beat(), start_beat()
    wait_until(lambda: len(set(positions(redis_url))) == 80, beat.log)

    events = streamed(redis_url)
    first = list(dict.fromkeys(event["data"]["position"] for event in events))
    assert first == list(range(1, 81))
    assert len({event["id"] for event in events}) == 80
    assert len({(event["id"], event["data"]["position"]) for event in events}) == 80
    assert len(events) > 80
    assert [each.end() for each in (beat, standby)] == [0, 0]


def test_a_relay_that_stops_in_order_leaves_its_place_at_once(world, start_beat, redis_url):
    world.course()
    change(world, active=True)
    beat = start_beat()
    wait_until(lambda: len(positions(redis_url)) == 20, beat.log)

    assert beat.end() == 0

    with world.sessions.read() as session:
        (place,) = session.query(RelayPositionRow).all()
        assert (place.position, place.holder, place.held_until) == (20, None, None)
