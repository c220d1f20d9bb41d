"""Circuit breaker: after a failure, allows one call per second and logs the outage once."""

import threading
import time
from collections.abc import Callable
from enum import StrEnum

import structlog

log = structlog.get_logger()

#: Seconds between two calls while the breaker is open.
RETRY_INTERVAL = 1.0


class Dependency(StrEnum):
    """A service that can be unavailable; its value is the first part of its log events."""

    QUEUE = "queue"
    CACHE = "cache"
    #: The Redis channel of completion events.
    COMPLETION_CHANNEL = "waking"
    #: The windows of rates in Redis.
    THROTTLE = "throttle"
    #: The Redis stream of events.
    EVENT_STREAM = "event_stream"
    #: The event bus of Open edX: events out, and catalog events in.
    EVENT_BUS = "event_bus"
    CATALOG = "catalog"


class CircuitBreaker:
    """Allows every call until one fails, then one per `RETRY_INTERVAL` until one succeeds.

    Logs an outage once at its start and once at its end. Safe to share between threads.
    """

    def __init__(self, dependency: Dependency, clock: Callable[[], float] = time.monotonic) -> None:
        self._dependency = dependency
        self._clock = clock
        self._lock = threading.Lock()
        self._is_open = False
        self._opened_at = 0.0
        self._retry_at = 0.0

    def allow(self) -> bool:
        """Returns whether to call now; while open, True for one caller per `RETRY_INTERVAL`."""
        if not self._is_open:
            return True
        with self._lock:
            now = self._clock()
            if now < self._retry_at:
                return False
            self._retry_at = now + RETRY_INTERVAL
            return True

    def record_success(self) -> None:
        """Closes the breaker; logs the end of the outage."""
        if not self._is_open:
            return
        with self._lock:
            was_open, self._is_open = self._is_open, False
        if was_open:
            seconds = round(self._clock() - self._opened_at, 3)
            event = f"{self._dependency}.reachable_again"
            log.info(event, after_seconds=seconds)

    def record_failure(self, error: BaseException) -> None:
        """Opens the breaker, or keeps it open; logs the start of the outage."""
        with self._lock:
            now = self._clock()
            was_open, self._is_open = self._is_open, True
            self._retry_at = now + RETRY_INTERVAL
            if not was_open:
                self._opened_at = now
        if not was_open:
            event = f"{self._dependency}.unreachable"
            log.warning(event, because=str(error), sort=type(error).__name__)

    @property
    def is_open(self) -> bool:
        """Whether a call now would be refused."""
        return self._is_open and self._clock() < self._retry_at
