"""What does not work is left alone for a moment, and an outage is said once."""

import pytest
from structlog.testing import capture_logs

from enrollment.runtime.circuit_breaker import RETRY_INTERVAL, CircuitBreaker, Dependency
from tests.support.manual_clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def breaker(clock):
    return CircuitBreaker(Dependency.QUEUE, clock)


def tried(breaker, times=3):
    return [breaker.allow() for _ in range(times)]


def test_of_many_who_ask_an_open_breaker_one_a_pause_may(breaker, clock):
    assert tried(breaker) == [True] * 3

    breaker.record_failure(OSError("away"))
    assert tried(breaker) == [False] * 3

    clock.now += RETRY_INTERVAL
    assert tried(breaker) == [True, False, False]

    breaker.record_success()
    assert tried(breaker) == [True] * 3


def test_it_rests_until_the_pause_is_over(breaker, clock):
    assert not breaker.is_open
    breaker.record_failure(OSError("away"))
    assert breaker.is_open

    clock.now += RETRY_INTERVAL

    assert not breaker.is_open


def test_an_outage_is_said_when_it_begins_and_when_it_is_over(breaker, clock):
    with capture_logs() as said:
        for _ in range(2):
            for _ in range(5):
                breaker.record_failure(OSError("away"))
                clock.now += RETRY_INTERVAL
            breaker.record_success()
            breaker.record_success()

    begun = {
        "event": "queue.unreachable",
        "log_level": "warning",
        "because": "away",
        "sort": "OSError",
    }
    over = {"event": "queue.reachable_again", "log_level": "info", "after_seconds": 5.0}
    assert said == [begun, over] * 2


def test_what_always_worked_is_not_worth_a_word(breaker):
    with capture_logs() as said:
        breaker.record_success()

    assert said == []
