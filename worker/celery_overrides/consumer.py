"""Taking messages from the queue: the worker's main process, which nothing there may stop.

Celery's own consumer waits longer and longer between two tries to connect, up to 30 s; ends
its process where a message is no JSON object; takes what it cannot read again and again; and
hears nothing more once Redis refused it an acknowledgement.
"""

import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

import structlog
from amqp import AMQPError
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer as CelerysConsumer
from celery.worker.state import maybe_shutdown
from kombu import Connection, Message
from kombu.exceptions import KombuError
from redis import RedisError

from enrollment.runtime.circuit_breaker import RETRY_INTERVAL, CircuitBreaker, Dependency

log = structlog.get_logger()

#: How kombu is to wait for a broker that is away: it tries every second, for ever.
EVERY_SECOND: dict[str, Any] = {
    "max_retries": None,
    "interval_start": RETRY_INTERVAL,
    "interval_step": 0,
    "interval_max": RETRY_INTERVAL,
}
#: Seconds after which a connection counts as one that works.
STEADY_SECONDS = 2 * RETRY_INTERVAL
#: What is wrong with the connection. All else is wrong with the message.
CONNECTION_ERRORS = (AMQPError, KombuError, OSError, RedisError)
#: What libraries raise about a message that they cannot take apart.
MESSAGE_ERRORS = (AttributeError, LookupError, RecursionError, TypeError, ValueError)

_NOISY_LOGGERS = ("celery.worker.consumer.consumer", "celery.worker.consumer.connection")
_DUPLICATE_MESSAGES = (
    "consumer: Connection to broker lost",
    "Connected to ",
    "Frequent restarts detected",
)

#: celery-types knows too little of it.
_CeleryConsumer: Any = CelerysConsumer


class ResilientConsumer(_CeleryConsumer):  # type: ignore[misc]
    """Celery's, which is back a second after the queue is, and survives every message."""

    class Blueprint(_CeleryConsumer.Blueprint):  # type: ignore[misc]
        """Its parts. RabbitMQ's 28 queues for tasks with a countdown are not wanted."""

        default_steps = tuple(
            step
            for step in _CeleryConsumer.Blueprint.default_steps
            if "delayed_delivery" not in step
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._breaker = CircuitBreaker(Dependency.QUEUE)
        self._steady: Any = None
        _filter_duplicate_logs()
        # Its message is lost; the sweeper announces again what it stood for.
        known: tuple[type[Exception], ...] = self.conninfo.connection_errors
        self.connection_errors = known + MESSAGE_ERRORS

    def ensure_connected(self, conn: Connection) -> Connection:
        """The connection, made as soon as the queue can be reached."""
        conn.ensure_connection(self._away, callback=maybe_shutdown, **EVERY_SECOND)
        self.first_connection_attempt = False
        return conn

    def _away(self, error: BaseException, _seconds: float) -> None:
        self._breaker.record_failure(error)

    def on_ready(self) -> None:
        """The queue is consumed from; if that lasts, the queue works."""
        super().on_ready()
        self._steady = self.hub.call_later(STEADY_SECONDS, self._breaker.record_success)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """The queue is there and refuses the first words."""
        self._rest(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Whatever it was, connect anew."""
        self._rest(exc)
        super().on_connection_error_after_connected(exc)

    def _rest(self, error: Exception) -> None:
        """A queue that refuses again and again is asked once a pause."""
        if self._steady is not None:
            self._steady.cancel()
        if not self._breaker.allow():
            time.sleep(RETRY_INTERVAL)
        self._breaker.record_failure(error)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], Any]:
        """What happens with each message; one that cannot be understood is dropped."""
        handle = super().create_task_handler(*args, **kwargs)

        def take(message: Message) -> Any:
            try:
                return handle(message)
            except CONNECTION_ERRORS:
                raise
            except Exception:
                log.exception("message.dropped")
                message.reject_log_error(log, self.connection_errors)
                return None

        return take

    def call_soon_ack(self, p: Callable[..., None], *args: Any, **kwargs: Any) -> Any:
        """Acknowledge; where that fails, the connection is made anew.

        Else the message counts as being in work for ever, and no other one is taken.
        """
        message: Message = p.__self__  # type: ignore[attr-defined]

        def acknowledge(logger: logging.Logger, errors: tuple[type[Exception], ...]) -> None:
            is_current = self.task_consumer and message.channel is self.task_consumer.channel
            p(logger, () if is_current else errors)

        return super().call_soon_ack(acknowledge, *args, **kwargs)


def _filter_duplicate_logs() -> None:
    """The breaker says once what Celery says at each try."""
    for logger in _NOISY_LOGGERS:
        logging.getLogger(logger).addFilter(_is_not_duplicate)
    # We say what we want; no need to be told at each loss that the default will change.
    warnings.simplefilter("ignore", CPendingDeprecationWarning)


def _is_not_duplicate(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_DUPLICATE_MESSAGES)
