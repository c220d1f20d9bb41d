"""Every batch is dispatched, and the interactive lane has no more messages than it needs."""

import threading

import pytest
from kombu.exceptions import OperationalError

from api_gateway.intake.dispatcher import (
    ACK_TIMEOUT_SECONDS,
    MAX_ACK_TIMEOUT_SECONDS,
    Dispatcher,
)
from enrollment.domain.codes import Lane
from enrollment.runtime.circuit_breaker import RETRY_INTERVAL
from enrollment.storage.queue.batches import BatchRef


def single(number):
    return BatchRef(number, Lane.INTERACTIVE)


def bulk(number):
    return BatchRef(number, Lane.BULK)


class Bench:
    """A dispatcher whose clock moves when told, and a queue that can be away."""

    def __init__(self):
        self.now = 100.0
        self.sent = []
        self.tried = 0
        self.failure = None
        self.dispatcher = Dispatcher(self.send, monotonic=lambda: self.now)

    def send(self, waiting):
        self.tried += 1
        if self.failure is not None:
            raise self.failure
        self.sent.append(waiting.id)

    def take(self, *items):
        for item in items:
            self.dispatcher._handle(item)
        return self.sent


@pytest.fixture
def bench():
    return Bench()


def answered(*numbers):
    return frozenset(numbers)


# --- the interactive lane -----------------------------------------------------------------


def test_the_first_single_is_rung_for_at_once(bench):
    assert bench.take(single(1)) == [1]


def test_while_a_ring_is_unanswered_no_other_is_sent(bench):
    assert bench.take(single(1), single(2), single(3)) == [1]


def test_the_answer_lets_the_newest_ring(bench):
    assert bench.take(single(1), single(2), single(3), answered(1)) == [1, 3]


def test_what_was_taken_along_is_not_rung_for_again(bench):
    assert bench.take(single(1), single(2), single(3), answered(1, 2, 3)) == [1]
    assert bench.take(single(4)) == [1, 4]


def test_an_answer_to_another_gateways_ring_changes_nothing(bench):
    assert bench.take(single(1), single(2), answered(9)) == [1]


def test_what_was_held_back_and_answered_meanwhile_is_dropped(bench):
    bench.take(single(1), single(2), answered(2), answered(1))

    assert bench.sent == [1]


def test_an_answer_that_never_comes_holds_nobody_back_for_long(bench):
    bench.take(single(1), single(2))
    bench.dispatcher._flush_expired()
    assert bench.sent == [1]

    bench.now += ACK_TIMEOUT_SECONDS
    bench.dispatcher._flush_expired()

    assert bench.sent == [1, 2]


def test_a_single_after_that_time_rings_by_itself(bench):
    bench.take(single(1))
    bench.now += ACK_TIMEOUT_SECONDS

    assert bench.take(single(2)) == [1, 2]


def test_looking_again_with_nothing_held_back_rings_for_nothing(bench):
    bench.dispatcher._flush_expired()
    bench.take(single(1))
    bench.now += ACK_TIMEOUT_SECONDS
    bench.dispatcher._flush_expired()

    assert bench.sent == [1]


def test_while_workers_stand_still_messages_do_not_pile_up(bench):
    """Singles all the time, for four minutes; then a worker completes what waits."""
    number = 0
    for number in range(2_400):
        bench.take(single(number))
        bench.now += 0.1
        bench.dispatcher._flush_expired()
    assert len(bench.sent) <= 240 / MAX_ACK_TIMEOUT_SECONDS + 5

    bench.take(answered(*range(number + 1)), single(number + 1), single(number + 2))
    bench.now += 1.01 * ACK_TIMEOUT_SECONDS
    bench.dispatcher._flush_expired()

    assert bench.sent[-2:] == [number + 1, number + 2]


# --- other batches ------------------------------------------------------------------------


def test_files_ring_each_for_itself(bench):
    assert bench.take(bulk(1), bulk(2), single(3), bulk(4)) == [1, 2, 3, 4]


def test_a_file_does_not_hold_singles_back(bench):
    assert bench.take(bulk(1), single(2)) == [1, 2]


# --- the queue is away --------------------------------------------------------------------


@pytest.mark.parametrize("failure", [OperationalError("away"), OSError("away")])
def test_a_queue_that_is_away_is_left_alone_for_a_while(bench, failure):
    bench.failure = failure
    bench.take(single(1), single(2), bulk(3))
    assert bench.tried == 1

    bench.failure = None
    bench.now += RETRY_INTERVAL
    bench.take(single(4))

    assert bench.sent == [4]


def test_the_doorbell_outlives_any_failure(bench):
    bench.failure = TypeError("a mistake")
    bench.take(single(1))

    bench.failure = None
    bench.now += RETRY_INTERVAL
    bench.take(bulk(2))

    assert bench.sent == [2]


# --- the thread ---------------------------------------------------------------------------


def test_the_thread_rings_for_all_that_waits_before_it_ends():
    sent = []
    dispatcher = Dispatcher(lambda waiting: sent.append(waiting.id), monotonic=lambda: 0.0)
    dispatcher.dispatch(bulk(1))
    dispatcher.dispatch(single(2))
    dispatcher.dispatch(single(3))
    dispatcher.start()

    dispatcher.stop()

    assert sent == [1, 2, 3]


def test_the_thread_hears_answers():
    sent, rang = [], threading.Event()

    def send(waiting):
        sent.append(waiting.id)
        if waiting.id == 2:
            rang.set()

    dispatcher = Dispatcher(send, monotonic=lambda: 0.0)
    dispatcher.start()
    dispatcher.dispatch(single(1))
    dispatcher.dispatch(single(2))
    dispatcher.on_completed([1])

    assert rang.wait(10)
    dispatcher.stop()
    assert sent == [1, 2]


def test_ringing_never_blocks(monkeypatch):
    monkeypatch.setattr("api_gateway.intake.dispatcher.MAX_QUEUED_BATCHES", 2)
    dispatcher = Dispatcher(lambda waiting: None)

    for number in range(5):
        dispatcher.dispatch(bulk(number))

    assert dispatcher._inbox.qsize() == 2
