"""The threads of the relay: woken by completion events, independent of each other."""

from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from enrollment.runtime import failpoints
from enrollment.runtime.completion_channel import CompletionPublisher
from enrollment.runtime.counters.relay_counters import RelayCounters
from enrollment.runtime.settings import from_env
from tests.support.in_process_service import row
from tests.support.relays import STREAM, positions
from tests.support.service_processes import wait_until
from worker.background.pace import Pace
from worker.relay import threads as threads_module
from worker.relay.threads import make_relay_threads


@contextmanager
def running(sessions, **given):
    made = make_relay_threads(from_env(given), sessions, RelayCounters())
    made.start()
    try:
        yield made
    finally:
        made.stop()
        assert not [each for each in made.threads if each.is_alive()]


@pytest.fixture
def changes(world):
    world.course()
    world.send([row("ada"), row("bob")])
    world.work()
    return world


def test_a_completion_event_wakes_the_relay(world, redis_url, monkeypatch):
    monkeypatch.setattr(threads_module, "RELAY_POLL_SECONDS", 3_600)
    world.course()
    with running(world.sessions, ENROLL_REDIS_URL=redis_url, ENROLL_EVENT_STREAM=STREAM):
        world.send([row("ada")])
        world.work()
        publisher = CompletionPublisher(redis_url)
        wait_until(lambda: publisher.publish([1], []) and positions(redis_url) == [1])


def test_without_the_channel_the_relay_looks_by_itself(changes, redis_url):
    with running(changes.sessions, ENROLL_REDIS_URL=redis_url, ENROLL_EVENT_STREAM=STREAM):
        wait_until(lambda: positions(redis_url) == [1, 2])
        changes.send([row("carol")])
        changes.work()
        wait_until(lambda: positions(redis_url) == [1, 2, 3])


def test_a_channel_that_fails_stops_no_other_and_is_tried_again(changes, redis_url, monkeypatch):
    monkeypatch.setattr(threads_module, "FAILURE_PAUSE_SECONDS", 0.01)
    given = {
        "ENROLL_REDIS_URL": redis_url,
        "ENROLL_EVENT_STREAM": STREAM,
        "ENROLL_EVENT_BUS": "true",
        "ENROLL_EVENT_BUS_URL": "redis://127.0.0.1:1/0",
    }
    failpoints.arm("relay.read=raise*3@event_stream")
    try:
        with capture_logs() as logs, running(changes.sessions, **given):
            wait_until(lambda: positions(redis_url) == [1, 2])
            wait_until(lambda: any(each["event"] == "event_bus.unreachable" for each in logs))
    finally:
        failpoints.arm("")

    assert [each["event"] for each in logs].count("relay.failed") == 1
    assert [each["event"] for each in logs].count("relay.resumed") == 1
    assert [each["event"] for each in logs].count("event_bus.unreachable") == 1


def test_without_channels_there_are_no_threads(sessions):
    with running(sessions) as made:
        assert made.threads == ()


def test_the_relay_takes_its_time_while_a_file_waits(world, redis_url, monkeypatch):
    rests = []
    monkeypatch.setattr(Pace, "rest", lambda pace, _: rests.append(pace.is_busy()) or 0.0)
    world.course()
    world.send([row("ada")])
    world.work()
    world.send([row("bob")])  # a file that no worker has taken
    with running(world.sessions, ENROLL_REDIS_URL=redis_url, ENROLL_EVENT_STREAM=STREAM):
        wait_until(lambda: positions(redis_url) == [1])
        wait_until(lambda: rests == [True])
        world.work()
        wait_until(lambda: positions(redis_url) == [1, 2])
        wait_until(lambda: rests == [True, False])
