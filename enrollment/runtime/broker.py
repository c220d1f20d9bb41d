"""The queue's words: lanes, task names, and how both doors talk to the broker.

A message carries ids only and is a hint: the row is the truth.
"""

import ssl
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from celery import Celery
from kombu import Connection, Producer, Queue

from enrollment.domain.codes import Lane


class TaskName(StrEnum):
    """What workers can be asked to do."""

    PROCESS = "batch.process"
    REDISPATCH = "batch.sweep"
    PURGE = "records.tidy"


class QueueName(StrEnum):
    """Where messages wait. Workers look in the order of the names (kombu keeps no other).

    Upkeep is first: it takes milliseconds, and while a request kills every worker that meets
    it, the sweep is what finds that out.
    """

    UPKEEP = "0-upkeep"
    INTERACTIVE = "1-interactive"
    BULK = "3-bulk"


#: The queue of each lane.
QUEUE_OF: Mapping[Lane, QueueName] = {
    Lane.INTERACTIVE: QueueName.INTERACTIVE,
    Lane.BULK: QueueName.BULK,
}


#: Seconds: what was announced so long ago and is not answered is announced again.
REDISPATCH_AFTER = 5.0
REDISPATCH_INTERVAL = 2.0
#: Batches that one sweep announces at most.
REDISPATCH_LIMIT = 100
PURGE_INTERVAL = 3600.0

#: Seconds until Redis delivers again what nobody acknowledged.
VISIBILITY_TIMEOUT = 120
#: Seconds that connecting to the queue, and then each word with it, may take.
CONNECT_TIMEOUT_SECONDS = 1.0
READ_TIMEOUT_SECONDS = 2.0
#: Seconds without a sign of life after which a connection is asked for one.
HEALTH_SECONDS = 3
#: The same for RabbitMQ; less is known to end connections that are merely busy.
BROKER_HEARTBEAT_SECONDS = 5

#: Schemes of RabbitMQ's URLs; every other URL names a Redis.
AMQP_SCHEMES = frozenset({"amqp", "amqps", "pyamqp"})
#: Certificates are checked. Left to itself kombu believes any Redis, and any name of a RabbitMQ.
_VERIFIED: Mapping[str, Mapping[str, Any]] = {
    "rediss": {"ssl_cert_reqs": ssl.CERT_REQUIRED},
    "amqps": {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None},
}


def broker_settings(url: str, *, client: str) -> dict[str, Any]:
    """Celery's settings that both doors share. No result backend: answers are rows."""
    is_amqp = urlsplit(url).scheme in AMQP_SCHEMES
    return {
        "broker_url": kombu_broker_url(url),
        "broker_use_ssl": _VERIFIED.get(urlsplit(url).scheme),
        "broker_transport_options": _amqp_options() if is_amqp else _redis_options(client),
        "broker_connection_timeout": READ_TIMEOUT_SECONDS,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "broker_heartbeat": BROKER_HEARTBEAT_SECONDS,
        "broker_pool_limit": 2,
        "task_publish_retry": False,
        "task_ignore_result": True,
        "result_backend": None,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_delivery_mode": 2,
        "task_queues": [_queue(name, quorum=is_amqp) for name in QueueName],
        "task_default_queue": QueueName.BULK.value,
        "task_create_missing_queues": False,
        "worker_send_task_events": False,
        "worker_enable_remote_control": False,
    }


def _queue(name: QueueName, *, quorum: bool) -> Queue:
    """Both doors declare the queues, and RabbitMQ refuses who declares one otherwise."""
    arguments = {"x-queue-type": "quorum"} if quorum else None
    return Queue(name.value, routing_key=name.value, queue_arguments=arguments)


def _redis_options(client: str) -> dict[str, Any]:
    return {
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        # Who died while putting messages back keeps others from it for so long.
        "unacked_mutex_expire": 30,
        "socket_timeout": READ_TIMEOUT_SECONDS,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_SECONDS,
        "queue_order_strategy": "sorted",
        "global_keyprefix": "enroll:",
        "client_name": client,
        "max_retries": 0,
    }


def _amqp_options() -> dict[str, Any]:
    return {
        "confirm_publish": True,
        "read_timeout": READ_TIMEOUT_SECONDS,
        "write_timeout": READ_TIMEOUT_SECONDS,
        "max_retries": 0,
    }


def kombu_broker_url(url: str) -> str:
    """What redis-py calls ``unix:``, kombu calls otherwise."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    query = dict(parse_qsl(parts.query))
    database = urlencode({"virtual_host": query.get("db", "0")})
    return f"redis+socket://{parts.netloc}{parts.path}?{database}"


class BatchPublisher:
    """Rings for batches over a connection of its own, in one thread.

    A call takes seconds at most. After an error the connection is given up; what was sent
    over it may have arrived all the same.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Connection | None = None
        self._producer: Producer | None = None

    def publish(self, batch_id: int, lane: Lane) -> None:
        """Put a batch's id on its lane's queue. Raises whatever the broker's library raises."""
        if self._connection is None or self._producer is None:
            self._connection = self._app.connection_for_write()
            self._producer = Producer(self._connection, auto_declare=False)
        try:
            self._app.send_task(
                TaskName.PROCESS.value,
                args=[batch_id],
                queue=QUEUE_OF[lane].value,
                producer=self._producer,
                confirm_timeout=READ_TIMEOUT_SECONDS,
                retry=False,
            )
        except BaseException:
            self._give_up(self._connection)
            raise

    def _give_up(self, connection: Connection) -> None:
        """The next call makes a new connection: this one may never hear anything again."""
        self._connection = self._producer = None
        with suppress(Exception):
            connection.collect(socket_timeout=CONNECT_TIMEOUT_SECONDS)
