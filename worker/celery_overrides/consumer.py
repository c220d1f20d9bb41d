"""Celery consumer that survives broker outages and malformed messages.

Celery's own consumer waits up to 30 s between two attempts to connect; ends its process where a
message is not a JSON object; receives a message that it cannot parse again and again; and stops
receiving once Redis refused an acknowledgement.
"""

import logging
import time
import warnings
from collections.abc import Callable
from typing import Any

import structlog
from amqp import AMQPError
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown
from kombu import Connection, Message
from kombu.exceptions import KombuError
from redis import RedisError

from enrollment.runtime.circuit_breaker import RETRY_INTERVAL, CircuitBreaker, Dependency

log = structlog.get_logger()

#: Reconnection policy for kombu: one attempt per second, without an end.
RECONNECT_POLICY: dict[str, Any] = {
    "max_retries": None,
    "interval_start": RETRY_INTERVAL,
    "interval_step": 0,
    "interval_max": RETRY_INTERVAL,
}
#: Seconds that a connection must last before the broker counts as reachable.
STABLE_CONNECTION_SECONDS = 2 * RETRY_INTERVAL
#: Errors of the connection. Every other error is one of the message.
CONNECTION_ERRORS = (AMQPError, KombuError, OSError, RedisError)
#: Errors that libraries raise for a message that they cannot parse.
MESSAGE_ERRORS = (AttributeError, LookupError, RecursionError, TypeError, ValueError)

_NOISY_LOGGERS = ("celery.worker.consumer.consumer", "celery.worker.consumer.connection")
_DUPLICATE_MESSAGES = (
    "consumer: Connection to broker lost",
    "Connected to ",
    "Frequent restarts detected",
)

#: Untyped: the stubs of celery-types are incomplete for this class.
_CeleryConsumer: Any = CeleryConsumer


class ResilientConsumer(_CeleryConsumer):  # type: ignore[misc]
    """Reconnects a second after the broker is back, and survives every message."""

    class Blueprint(_CeleryConsumer.Blueprint):  # type: ignore[misc]
        """Steps of the consumer, without the 28 RabbitMQ queues for countdowns."""

        default_steps = tuple(
            step
            for step in _CeleryConsumer.Blueprint.default_steps
            if "delayed_delivery" not in step
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._breaker = CircuitBreaker(Dependency.QUEUE)
        self._stable_timer: Any = None
        _filter_duplicate_logs()
        # The message is lost; its batch is re-dispatched.
        connection_errors: tuple[type[Exception], ...] = self.conninfo.connection_errors
        self.connection_errors = connection_errors + MESSAGE_ERRORS

    def ensure_connected(self, conn: Connection) -> Connection:
        """Returns the connection once the broker can be reached."""
        conn.ensure_connection(self._record_failure, callback=maybe_shutdown, **RECONNECT_POLICY)
        self.first_connection_attempt = False
        return conn

    def _record_failure(self, error: BaseException, _seconds: float) -> None:
        self._breaker.record_failure(error)

    def on_ready(self) -> None:
        """Starts to consume; if the connection lasts, the broker counts as reachable."""
        super().on_ready()
        self._stable_timer = self.hub.call_later(
            STABLE_CONNECTION_SECONDS, self._breaker.record_success
        )

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Pauses where the broker accepts connections but refuses the handshake."""
        self._pause_if_failing(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Pauses if needed, then reconnects after any error."""
        self._pause_if_failing(exc)
        super().on_connection_error_after_connected(exc)

    def _pause_if_failing(self, error: Exception) -> None:
        """Records a failure; after repeated failures waits for a pause first."""
        if self._stable_timer is not None:
            self._stable_timer.cancel()
        if not self._breaker.allow():
            time.sleep(RETRY_INTERVAL)
        self._breaker.record_failure(error)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], Any]:
        """Returns the handler of messages, which logs and drops one that cannot be understood."""
        handle = super().create_task_handler(*args, **kwargs)

        def handle_or_drop(message: Message) -> Any:
            try:
                return handle(message)
            except CONNECTION_ERRORS:
                raise
            except Exception:
                log.exception("message.dropped")
                message.reject_log_error(log, self.connection_errors)
                return None

        return handle_or_drop

    def call_soon_ack(self, p: Callable[..., None], *args: Any, **kwargs: Any) -> Any:
        """Acknowledges a message; where that fails, its error makes the consumer reconnect.

        Otherwise the message would count as in progress for ever, and no other one be received.
        Errors are ignored for a message of an earlier connection.
        """
        message: Message = p.__self__  # type: ignore[attr-defined]

        def acknowledge(logger: logging.Logger, errors: tuple[type[Exception], ...]) -> None:
            is_current = self.task_consumer and message.channel is self.task_consumer.channel
            p(logger, () if is_current else errors)

        return super().call_soon_ack(acknowledge, *args, **kwargs)


def _filter_duplicate_logs() -> None:
    """Silences Celery's message about each attempt: the circuit breaker logs an outage once."""
    for logger in _NOISY_LOGGERS:
        logging.getLogger(logger).addFilter(_is_not_duplicate)
    # Celery warns at each lost connection about a default that this app sets itself.
    warnings.simplefilter("ignore", CPendingDeprecationWarning)


def _is_not_duplicate(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_DUPLICATE_MESSAGES)
