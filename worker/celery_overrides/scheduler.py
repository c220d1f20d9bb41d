"""The schedule: rings for what is due, and is back a second after the queue is."""

from typing import Any

from celery.beat import ScheduleEntry, Scheduler
from kombu import Connection

from enrollment.runtime.circuit_breaker import CircuitBreaker, Dependency
from worker.celery_overrides.consumer import EVERY_SECOND


class ResilientScheduler(Scheduler):
    """Celery's, whose connection to a RabbitMQ that was restarted would never work again."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._breaker = CircuitBreaker(Dependency.QUEUE)
        super().__init__(*args, **kwargs)

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Ring once; what fails is not made up for, the next run does it."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:  # noqa: BLE001 (the schedule goes on, whatever fails)
            self._breaker.record_failure(error.__context__ or error)
            self.close()
        else:
            self._breaker.record_success()

    def _ensure_connected(self) -> Connection:
        def away(error: BaseException, _seconds: float) -> None:
            self._breaker.record_failure(error)

        return self.connection.ensure_connection(away, **EVERY_SECOND)
