"""The worker's main process: no message and no loss of the queue stops it or makes it deaf."""

import logging
from types import SimpleNamespace

import pytest
from celery.worker import state
from kombu.asynchronous.hub import Hub
from kombu.exceptions import OperationalError
from redis import ResponseError
from structlog.testing import capture_logs

from enrollment.runtime.circuit_breaker import RETRY_INTERVAL
from worker.celery_app import make_celery_app
from worker.celery_overrides import consumer as celery_overrides_consumer
from worker.celery_overrides.consumer import STABLE_CONNECTION_SECONDS, ResilientConsumer
from worker.celery_overrides.scheduler import ResilientScheduler

NOWHERE = "redis://127.0.0.1:1/0"


class Message:
    """A message that may be hard to take, and to be rid of."""

    def __init__(self, headers, failure=None):
        self.headers, self.failure = headers, failure
        self.channel = object()
        self.rejected = False

    def reject_log_error(self, logger, errors, requeue=False):  # noqa: FBT002 (kombu's)
        self.rejected = True

    def ack_log_error(self, logger, errors):
        try:
            if self.failure is not None:
                raise self.failure
        except errors:
            logger.warning("swallowed")


@pytest.fixture
def hub():
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture
def consumer(hub):
    pool = SimpleNamespace(is_green=False, num_processes=1, flush=None)
    controller = SimpleNamespace(state=state, semaphore=None, use_eventloop=True)
    options = {"pool": pool, "controller": controller, "hub": hub, "timer": hub.timer}
    return ResilientConsumer(lambda request: None, app=make_celery_app(NOWHERE), **options)


def test_rabbitmqs_queues_for_countdowns_are_not_made(consumer):
    names = {type(step).__name__ for step in consumer.steps}

    assert "Tasks" in names
    assert "DelayedDelivery" not in names


@pytest.mark.parametrize("headers", [{"task": ["a list"]}, {"task": {}}])
def test_a_message_that_cannot_be_understood_is_dropped(consumer, headers):
    message = Message(headers)

    with capture_logs() as said:
        consumer.create_task_handler()(message)

    assert message.rejected
    assert [record["event"] for record in said] == ["message.dropped"]


def test_a_lost_connection_is_no_fault_of_the_message(consumer):
    def lost(message, *_):
        raise OperationalError("lost")

    consumer.strategies["batch.process"] = lost
    message = Message({"task": "batch.process"})

    with pytest.raises(OperationalError):
        consumer.create_task_handler()(message)
    assert not message.rejected


def acknowledged(consumer, hub, message):
    ready = []
    hub.call_soon = ready.append
    consumer.call_soon_ack(message.ack_log_error, logging.getLogger(), (ResponseError,))
    for call in ready:
        call()


def test_who_cannot_acknowledge_connects_anew(consumer, hub):
    message = Message({}, ResponseError("refused"))
    consumer.task_consumer = SimpleNamespace(channel=message.channel)

    with pytest.raises(ResponseError):
        acknowledged(consumer, hub, message)


def test_what_came_over_a_connection_that_is_gone_need_not_be_acknowledged(consumer, hub):
    consumer.task_consumer = SimpleNamespace(channel=object())

    acknowledged(consumer, hub, Message({}, ResponseError("refused")))


def test_a_queue_that_refuses_again_and_again_is_asked_once_a_pause(consumer, monkeypatch):
    slept = []
    monkeypatch.setattr(celery_overrides_consumer.time, "sleep", slept.append)

    with capture_logs() as said:
        for _ in range(3):
            consumer.on_connection_error_before_connected(ResponseError("READONLY"))

    assert slept == [RETRY_INTERVAL, RETRY_INTERVAL]
    assert [record["event"] for record in said] == ["queue.unreachable"]


def test_a_queue_works_when_it_did_for_a_while(consumer, hub):
    later = []
    hub.call_later = lambda seconds, call: (
        later.append((seconds, call)) or SimpleNamespace(cancel=later.clear)
    )
    consumer.on_ready()
    consumer.on_connection_error_before_connected(ResponseError("READONLY"))
    assert later == []

    consumer.on_ready()
    with capture_logs() as said:
        ((seconds, call),) = later
        call()

    assert seconds == STABLE_CONNECTION_SECONDS
    assert [record["event"] for record in said] == ["queue.reachable_again"]


def test_the_schedule_outlives_a_queue_that_is_away():
    beat = ResilientScheduler(make_celery_app(NOWHERE), lazy=True)
    entry = beat.Entry(name="redispatch", task="batch.sweep", schedule=2.0, app=beat.app)

    with capture_logs() as said:
        for _ in range(2):
            beat.apply_entry(entry)

    assert [record["event"] for record in said] == ["queue.unreachable"]


def test_the_schedule_rings(redis_url):
    beat = ResilientScheduler(make_celery_app(redis_url))
    entry = beat.schedule["redispatch"]

    beat.apply_entry(entry, producer=beat.producer)
    beat.close()

    with beat.app.connection_for_write() as connection:
        assert connection.default_channel._size("0-upkeep") == 1
