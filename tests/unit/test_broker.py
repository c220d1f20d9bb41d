"""How both doors talk to the broker: every word with it has a bound, and the bounds fit together."""

import ssl
import time

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from api_gateway.intake.dispatcher import batch_sender
from enrollment.domain.codes import Lane
from enrollment.runtime.broker import (
    BROKER_HEARTBEAT_SECONDS,
    CONNECT_TIMEOUT_SECONDS,
    HEALTH_CHECK_SECONDS,
    READ_TIMEOUT_SECONDS,
    REDISPATCH_AFTER,
    REDISPATCH_INTERVAL,
    VISIBILITY_TIMEOUT,
    BatchPublisher,
    QueueName,
    TaskName,
    broker_settings,
    kombu_broker_url,
)
from enrollment.runtime.circuit_breaker import RETRY_INTERVAL
from enrollment.storage.engine.engines import (
    LOCK_TIMEOUT_MS,
    SQLITE_BUSY_SECONDS,
    STATEMENT_TIMEOUT_MS,
)
from enrollment.storage.queue.batches import BatchRef
from worker.celery_app import make_celery_app
from worker.processing.processor import ATTEMPT_SECONDS, CONFLICT_RETRY_SECONDS

NOWHERE = "redis://127.0.0.1:1/0"
REDIS, RABBITMQ = "redis://h/0", "amqp://h//"
SENTINELS = "redis+sentinel://u:p%40x@a,[::1]:1/mymaster/3"


def test_whoever_waits_longer_waits_for_who_waits_shorter():
    app = make_celery_app(REDIS)
    statement = max(STATEMENT_TIMEOUT_MS / 1000, SQLITE_BUSY_SECONDS)

    assert statement > LOCK_TIMEOUT_MS / 1000
    assert statement < ATTEMPT_SECONDS
    assert app.conf.task_soft_time_limit > CONFLICT_RETRY_SECONDS + ATTEMPT_SECONDS
    assert app.conf.task_soft_time_limit < app.conf.task_time_limit
    assert app.conf.task_time_limit * 3 < VISIBILITY_TIMEOUT
    assert app.conf.broker_transport_options["visibility_timeout"] == VISIBILITY_TIMEOUT


def test_a_silent_queue_is_found_out_before_the_sweeper_would_have_to_ring_often():
    longest_pop = 1.0

    assert CONNECT_TIMEOUT_SECONDS + READ_TIMEOUT_SECONDS + RETRY_INTERVAL < REDISPATCH_AFTER
    assert REDISPATCH_INTERVAL < REDISPATCH_AFTER
    assert longest_pop + 2 * HEALTH_CHECK_SECONDS + RETRY_INTERVAL <= 10
    assert 2 * BROKER_HEARTBEAT_SECONDS + RETRY_INTERVAL <= 15


@pytest.mark.parametrize("url", [REDIS, "rediss://h/0", "unix:///run/redis.sock", SENTINELS])
def test_every_word_with_redis_has_a_bound(url):
    options = broker_settings(url, client="c")["broker_transport_options"]

    assert options["socket_timeout"] == READ_TIMEOUT_SECONDS
    assert options["socket_connect_timeout"] == CONNECT_TIMEOUT_SECONDS
    assert options["max_retries"] == 0
    assert options["queue_order_strategy"] == "sorted"


@pytest.mark.parametrize("url", [RABBITMQ, "amqps://h//", "pyamqp://h//"])
def test_every_word_with_rabbitmq_has_a_bound_and_is_confirmed(url):
    settings = broker_settings(url, client="c")
    options = settings["broker_transport_options"]

    assert options["confirm_publish"] is True
    assert (options["read_timeout"], options["write_timeout"]) == (
        READ_TIMEOUT_SECONDS,
        READ_TIMEOUT_SECONDS,
    )
    assert settings["broker_connection_timeout"] == READ_TIMEOUT_SECONDS
    assert {queue.name for queue in settings["task_queues"]} == set(QueueName)
    for queue in settings["task_queues"]:
        assert queue.durable
        assert queue.queue_arguments == {"x-queue-type": "quorum"}


def test_lanes_are_looked_at_in_the_order_of_their_names():
    by_urgency = [QueueName.UPKEEP, QueueName.INTERACTIVE, QueueName.SUBMIT, QueueName.BULK]
    assert sorted(QueueName) == by_urgency


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("rediss://h/0", {"ssl_cert_reqs": ssl.CERT_REQUIRED}),
        ("amqps://h//", {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}),
        ("rediss://h/0?ssl_ca_certs=/x", {"ssl_ca_certs": "/x"}),  # redis-py requires it anyway
        (
            "amqps://a//?ssl_ca_certs=/x;amqps://b//?ssl_ca_certs=/x",
            {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None, "ca_certs": "/x"},
        ),
        (
            "rediss+sentinel://a,b/m?ssl_ca_certs=/x",
            {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/x"},
        ),
        (REDIS, None),
        (RABBITMQ, None),
        (SENTINELS, None),
    ],
)
def test_certificates_are_checked(url, checked):
    app = make_celery_app(url)

    assert app.connection_for_write().ssl == checked


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("redis://h/3", "redis://h/3"),
        ("redis://:p%40x@h:6?db=3", "redis://:p%40x@h:6/3"),
        ("redis://h/3?socket_timeout=3&protocol=2", "redis://h/3"),
        ("rediss://h/3?ssl_ca_certs=/x&socket_timeout=3", "rediss://h/3?ssl_ca_certs=/x"),
        ("amqps://h//?heartbeat=3&ssl_ca_certs=/x", "amqps://h//?heartbeat=3"),
        ("amqp://a//;amqp://b//", "amqp://a//;amqp://b//"),
    ],
)
def test_kombu_gets_the_parameters_that_it_knows(given, named):
    assert kombu_broker_url(given) == named
    make_celery_app(given).connection_for_write()


def test_sentinels_are_named_as_kombu_names_them():
    connection = make_celery_app(SENTINELS).connection_for_write()

    assert connection.alt == [
        "sentinel://u:p%40x@a:26379/3",
        "sentinel://u:p%40x@[::1]:1/3",
    ]
    assert connection.transport_options["master_name"] == "mymaster"
    options = connection.transport_options["sentinel_kwargs"]
    assert options["socket_timeout"] == READ_TIMEOUT_SECONDS
    assert options["socket_connect_timeout"] == CONNECT_TIMEOUT_SECONDS
    assert options["password"] is None, "that of Redis is not for Sentinel"


def test_a_socket_in_the_file_system_is_named_as_kombu_names_it():
    app = make_celery_app("unix://:secret@/run/redis.sock?db=3")

    connection = app.connection_for_write()
    assert connection.transport.driver_type == "redis"
    assert "/run/redis.sock" in connection.hostname
    assert connection.hostname.endswith("virtual_host=3")


class Ears:
    """An app that hears what is sent, and may refuse it."""

    def __init__(self, url=NOWHERE):
        self.app = Celery("t", set_as_current=False)
        self.app.conf.update(broker_settings(url, client="t"))
        self.sent = []
        self.failure = None
        self.app.send_task = self.hear

    def hear(self, name, **said):
        self.sent.append((name, said))
        if self.failure is not None:
            raise self.failure


@pytest.mark.parametrize("lane", Lane)
def test_a_ring_is_a_message_with_an_id_and_nothing_else(lane):
    ears = Ears()

    batch_sender(ears.app)(BatchRef(7, lane))

    ((name, said),) = ears.sent
    assert (name, said["args"], said["retry"]) == (TaskName.PROCESS.value, [7], False)
    assert lane.value in said["queue"]


def test_a_connection_on_which_something_failed_is_not_used_again():
    ears = Ears()
    publisher = BatchPublisher(ears.app)
    publisher.publish(1, Lane.BULK)
    publisher.publish(2, Lane.BULK)
    ears.failure = KeyError("whatever the library raises")
    with pytest.raises(KeyError):
        publisher.publish(3, Lane.BULK)
    ears.failure = None
    publisher.publish(4, Lane.BULK)

    first, second, third, fourth = (said["producer"] for _, said in ears.sent)
    assert first is second is third
    assert fourth is not third


def test_a_queue_that_refuses_connections_refuses_at_once():
    app = make_celery_app(NOWHERE)
    began = time.monotonic()

    with pytest.raises(OperationalError):
        BatchPublisher(app).publish(1, Lane.BULK)

    assert time.monotonic() - began < CONNECT_TIMEOUT_SECONDS + READ_TIMEOUT_SECONDS
