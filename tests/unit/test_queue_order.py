"""The order of a worker's queues: singles first, and a share for files and calls behind them."""

import pytest
from kombu.utils.scheduling import cycle_by_name

from enrollment.runtime.broker import QueueName
from tests.support.manual_clock import ManualClock
from worker.celery_app import make_celery_app
from worker.celery_overrides.queue_order import MAX_CREDIT, MAX_DEBT, LaneOrder

ALL = [str(name) for name in QueueName]
UPKEEP, INTERACTIVE, SUBMIT, BULK = ALL


class OneWorker:
    """Takes a message of the first queue that has any; `always` names those that always have some."""

    def __init__(self, *always, seconds):
        self.clock = ManualClock()
        self.order = LaneOrder(clock=self.clock)
        self.order.update(list(reversed(ALL)))
        self._always = always
        self._seconds = seconds
        self.spent = dict.fromkeys(ALL, 0.0)

    def work(self, seconds):
        until = self.clock.now + seconds
        while self.clock.now < until:
            queue = next(each for each in self.order.consume(len(ALL)) if each in self._always)
            self.take(queue)

    def take(self, queue):
        self.order.rotate(queue)
        self.clock.now += self._seconds[queue]
        self.spent[queue] += self._seconds[queue]


def test_queues_are_polled_by_their_names():
    order = LaneOrder()
    order.update([BULK, INTERACTIVE, UPKEEP])
    assert order.consume(3) == [UPKEEP, INTERACTIVE, BULK]
    assert order.consume(2) == [INTERACTIVE, BULK]


@pytest.mark.parametrize("lower", [SUBMIT, BULK])
@pytest.mark.parametrize("took", [0.001, 0.3, 0.9])
def test_a_lower_queue_gets_a_fifth_of_the_time(lower, took):
    worker = OneWorker(INTERACTIVE, lower, seconds={INTERACTIVE: 0.02, lower: took})
    worker.work(200)
    assert worker.spent[lower] / 200 == pytest.approx(0.2, abs=0.02)


def test_files_and_calls_both_get_a_share():
    seconds = {INTERACTIVE: 0.02, SUBMIT: 0.01, BULK: 0.3}
    worker = OneWorker(INTERACTIVE, SUBMIT, BULK, seconds=seconds)
    worker.work(200)
    assert min(worker.spent[SUBMIT], worker.spent[BULK]) > 200 / 8
    assert worker.spent[INTERACTIVE] > 200 / 2


def test_upkeep_is_always_first_and_owes_nothing():
    worker = OneWorker(INTERACTIVE, BULK, seconds={UPKEEP: 60, INTERACTIVE: 0.02, BULK: 0.3})
    worker.work(10)
    worker.take(UPKEEP)
    assert worker.order.consume(len(ALL))[0] == UPKEEP


def test_a_queue_that_was_empty_for_long_is_owed_little():
    worker = OneWorker(INTERACTIVE, seconds={INTERACTIVE: 0.02, BULK: 0.01})
    worker.work(1_000)
    taken = 0
    while worker.order.consume(len(ALL))[1] == BULK:
        worker.take(BULK)
        taken += 1
    assert taken <= MAX_CREDIT / 0.01 + 1


def test_a_queue_that_was_alone_for_long_waits_for_little():
    worker = OneWorker(BULK, seconds={INTERACTIVE: 0.02, BULK: 0.3})
    worker.work(1_000)
    waited = 0.0
    while worker.order.consume(len(ALL))[-1] == BULK:
        worker.take(INTERACTIVE)
        waited += 0.02
    assert waited <= 4 * MAX_DEBT + 0.05


def test_time_between_messages_counts_for_no_queue():
    clock = ManualClock()
    order = LaneOrder(clock=clock)
    order.update(ALL)
    order.rotate(INTERACTIVE)
    order.consume(len(ALL))
    clock.now += 100
    assert order.consume(len(ALL))[1] == INTERACTIVE


def test_workers_on_redis_use_it_and_those_on_rabbitmq_have_no_order():
    options = make_celery_app("redis://h/0").conf.broker_transport_options
    assert cycle_by_name(options["queue_order_strategy"]) is LaneOrder
    options = make_celery_app("amqp://h//").conf.broker_transport_options
    assert "queue_order_strategy" not in options
