"""Celery Beat scheduler that survives broker outages."""

from typing import Any

from celery.beat import ScheduleEntry, Scheduler
from kombu import Connection

from enrollment.runtime.circuit_breaker import CircuitBreaker, Dependency
from worker.celery_overrides.consumer import RECONNECT_POLICY


class ResilientScheduler(Scheduler):
    """Reconnects after every failure.

    The connection of Celery's own scheduler never works again once RabbitMQ was restarted.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._breaker = CircuitBreaker(Dependency.QUEUE)
        super().__init__(*args, **kwargs)

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Publishes one due task; a failure is logged and left to the next run."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:  # noqa: BLE001 (the schedule goes on after any failure)
            self._breaker.record_failure(error.__context__ or error)
            self.close()
        else:
            self._breaker.record_success()

    def _ensure_connected(self) -> Connection:
        def record_failure(error: BaseException, _seconds: float) -> None:
            self._breaker.record_failure(error)

        return self.connection.ensure_connection(record_failure, **RECONNECT_POLICY)
