"""Broker settings that gateway and workers share: task and queue names, timeouts, publisher.

A message contains ids only. It is a hint: the row in the database is authoritative.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from amqp.exceptions import NotFound
from celery import Celery
from kombu import Connection, Producer, Queue

from enrollment.domain.codes import Lane
from enrollment.runtime.redis_servers.pools import sentinel_options, tls_options
from enrollment.runtime.server_urls import SentinelUrl, sentinel_url
from enrollment.runtime.tracing.span_values import BATCH_KEY, SpanKind
from enrollment.runtime.tracing.spans import span_in_each


class TaskName(StrEnum):
    """The tasks of the workers."""

    PROCESS = "batch.process"
    REDISPATCH = "batch.sweep"
    PURGE = "records.tidy"
    #: Called by other applications.
    SUBMIT = "enrollment.submit"


class QueueName(StrEnum):
    """The queues. Workers poll them in the order of their names, with a share for the lower ones.

    Upkeep comes first, because it takes milliseconds, and because re-dispatching is what detects a
    request that crashes every worker.
    """

    UPKEEP = "0-upkeep"
    INTERACTIVE = "1-interactive"
    #: Calls of other applications: storing one takes milliseconds, as for the gateway.
    SUBMIT = "2-submit"
    BULK = "3-bulk"


#: Queue of each lane.
QUEUE_BY_LANE: Mapping[Lane, QueueName] = {
    Lane.INTERACTIVE: QueueName.INTERACTIVE,
    Lane.BULK: QueueName.BULK,
}

#: Seconds after its dispatch until a batch that is not completed is dispatched again.
REDISPATCH_AFTER = 5.0
REDISPATCH_INTERVAL = 2.0
#: Messages on the queue of a lane up to which overdue batches are dispatched again. So messages do
#: not pile up while workers stand still. One message is enough for what waits in the interactive
#: lane; several let as many workers share it.
REDISPATCH_LIMITS: Mapping[Lane, int] = {Lane.INTERACTIVE: 8, Lane.BULK: 100}
#: Seconds from the end of a purge to the next one, and between two looks whether it is due.
PURGE_INTERVAL, PURGE_CHECK_INTERVAL = 3600.0, 60.0
#: Queue of the purge: the last one, so that a turn begins only if nothing else waits before it.
PURGE_QUEUE = QueueName.BULK

#: Seconds until Redis redelivers an unacknowledged message.
VISIBILITY_TIMEOUT = 120
#: Timeouts of connecting to the broker, and of each operation.
CONNECT_TIMEOUT_SECONDS = 1.0
READ_TIMEOUT_SECONDS = 2.0
#: Seconds of inactivity after which a Redis connection is pinged.
HEALTH_CHECK_SECONDS = 3
#: Heartbeat interval of RabbitMQ; a shorter one is known to close busy connections.
BROKER_HEARTBEAT_SECONDS = 5

#: URL schemes of RabbitMQ; every other URL is one of Redis.
AMQP_SCHEMES = frozenset({"amqp", "amqps", "pyamqp"})
#: TLS options that verify certificates. By default kombu accepts any certificate of Redis, and any
#: host name in one of RabbitMQ.
_TLS_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "rediss": {"ssl_cert_reqs": ssl.CERT_REQUIRED},
    "rediss+sentinel": {"ssl_cert_reqs": ssl.CERT_REQUIRED},
    "amqps": {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None},
}
#: Parameters of an `amqps:` URL that name files, as for Redis, and what py-amqp calls them.
_AMQP_FILES = {"ssl_ca_certs": "ca_certs", "ssl_certfile": "certfile", "ssl_keyfile": "keyfile"}


def broker_settings(url: str, *, client: str) -> dict[str, Any]:
    """Returns the Celery settings of gateway and workers; `client` names Redis connections.

    There is no result backend, because outcomes are stored in the database.
    """
    is_amqp = urlsplit(url).scheme in AMQP_SCHEMES
    return {
        "broker_url": kombu_broker_url(url),
        "broker_use_ssl": _tls_options(url),
        "broker_transport_options": _amqp_options() if is_amqp else _redis_options(url, client),
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
    """Returns a queue; RabbitMQ requires equal arguments from every process that declares it."""
    arguments = {"x-queue-type": "quorum"} if quorum else None
    return Queue(name.value, routing_key=name.value, queue_arguments=arguments)


def _tls_options(url: str) -> Mapping[str, Any] | None:
    parts = urlsplit(url.partition(";")[0])
    options = _TLS_OPTIONS.get(parts.scheme)
    if options is None:
        return None
    if sentinels := sentinel_url(url):
        return {**options, **tls_options(sentinels)}
    if parts.scheme not in AMQP_SCHEMES:
        return options
    files = {
        _AMQP_FILES[name]: file for name, file in parse_qsl(parts.query) if name in _AMQP_FILES
    }
    return {**options, **files}


def _redis_options(url: str, client: str) -> dict[str, Any]:
    return {
        **_sentinel_options(url),
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        # Seconds that the lock of a worker that died while restoring messages remains.
        "unacked_mutex_expire": 30,
        "socket_timeout": READ_TIMEOUT_SECONDS,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_CHECK_SECONDS,
        "queue_order_strategy": "sorted",
        "global_keyprefix": "enroll:",
        "client_name": client,
        "max_retries": 0,
    }


def _sentinel_options(url: str) -> dict[str, Any]:
    sentinels = sentinel_url(url)
    if sentinels is None:
        return {}
    options = sentinel_options(
        sentinels,
        socket_timeout=READ_TIMEOUT_SECONDS,
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
    )
    return {"master_name": sentinels.service, "sentinel_kwargs": options}


def _amqp_options() -> dict[str, Any]:
    return {
        "confirm_publish": True,
        "read_timeout": READ_TIMEOUT_SECONDS,
        "write_timeout": READ_TIMEOUT_SECONDS,
        "max_retries": 0,
    }


def kombu_broker_url(url: str) -> str:
    """Converts a URL to the form that kombu expects: those of sockets, Sentinels, and `amqps:`."""
    parts = urlsplit(url)
    if sentinels := sentinel_url(url):
        return ";".join(_kombu_sentinel_urls(sentinels))
    if parts.scheme == "amqps":
        return ";".join(_without_files(each) for each in url.split(";"))
    query = dict(parse_qsl(parts.query))
    if parts.scheme in {"redis", "rediss"}:
        # kombu knows no other parameters of redis-py, and our time limits apply to the queue.
        kept = {name: value for name, value in query.items() if name.startswith("ssl_")}
        path = f"/{query['db']}" if "db" in query else parts.path
        return parts._replace(path=path, query=urlencode(kept, safe="/")).geturl()
    if parts.scheme != "unix":
        return url
    database = urlencode({"virtual_host": query.get("db", "0")})
    return f"redis+socket://{parts.netloc}{parts.path}?{database}"


def _without_files(url: str) -> str:
    """Removes the parameters that `_tls_options` has: py-amqp refuses them by these names."""
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name not in _AMQP_FILES]
    return f"{url.partition('?')[0]}{'?' if query else ''}{urlencode(query)}"


def _kombu_sentinel_urls(url: SentinelUrl) -> Iterator[str]:
    """Yields a URL for each Sentinel, all with the user, password and database of Redis."""
    redis = urlsplit(url.redis)
    credentials, at, _ = redis.netloc.rpartition("@")
    for host, port in url.addresses:
        name = f"[{host}]" if ":" in host else host
        yield f"sentinel://{credentials}{at}{name}:{port}{redis.path}"


class BatchPublisher:
    """Publishes numbers to the broker over its own connection. Not safe to share between threads.

    A call takes seconds at most. After an error the connection is dropped, although the message may
    have been delivered.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Connection | None = None
        self._producer: Producer | None = None

    def publish(self, batch_id: int, lane: Lane, traceparents: tuple[str, ...] = ()) -> None:
        """Publishes a batch id to the queue of its lane; that is a span in each of the traces.

        Raises any error of the broker library.
        """
        queue = QUEUE_BY_LANE[lane]
        if not traceparents:
            self._send(TaskName.PROCESS, batch_id, queue)
            return
        attributes = {
            "messaging.system": "celery",
            "messaging.operation.type": "send",
            "messaging.destination.name": queue.value,
            BATCH_KEY: batch_id,
        }
        with span_in_each("send batch", SpanKind.PRODUCER, traceparents, attributes):
            self._send(TaskName.PROCESS, batch_id, queue)

    def publish_purge(self, turn: int) -> None:
        """Publishes the number of a purge's next turn. Raises any error of the broker library."""
        self._send(TaskName.PURGE, turn, PURGE_QUEUE)

    def _send(self, task: TaskName, number: int, queue: QueueName) -> None:
        with self._connected() as (_, producer):
            self._app.send_task(
                task.value,
                args=[number],
                queue=queue.value,
                producer=producer,
                confirm_timeout=READ_TIMEOUT_SECONDS,
                retry=False,
            )

    def queue_length(self, lane: Lane) -> int:
        """Returns the number of messages on the queue of a lane, without those being processed.

        Raises any error of the broker library.
        """
        queue = QUEUE_BY_LANE[lane].value
        channel: Any
        with self._connected() as (connection, _), connection.channel() as channel:
            # kombu does not find a passively declared queue of Redis: it omits the key prefix.
            # Declaring one there changes nothing.
            passive = connection.transport.driver_type == "amqp"
            try:
                declared = channel.queue_declare(queue=queue, passive=passive)
            except NotFound:
                return 0  # no worker has declared it yet
            return int(declared.message_count)

    @contextmanager
    def _connected(self) -> Iterator[tuple[Connection, Producer]]:
        """Yields the open connection; closes it after an error, so that the next call opens one."""
        if self._connection is None or self._producer is None:
            self._connection = self._app.connection_for_write()
            self._producer = Producer(self._connection, auto_declare=False)
        connection = self._connection
        try:
            yield connection, self._producer
        except BaseException:
            self._connection = self._producer = None
            with suppress(Exception):
                connection.collect(socket_timeout=CONNECT_TIMEOUT_SECONDS)
            raise
