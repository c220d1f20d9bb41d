"""Leaving alone for a moment what does not work, and saying once that it does not."""

import threading
import time
from collections.abc import Callable
from enum import StrEnum

import structlog

log = structlog.get_logger()

#: Seconds that something is left alone after an error.
RETRY_INTERVAL = 1.0


class Dependency(StrEnum):
    """What can be out of reach; its log events begin with this word."""

    QUEUE = "queue"
    CACHE = "cache"
    #: The channel on which workers say what they answered.
    COMPLETION_CHANNEL = "waking"


class CircuitBreaker:
    """Lets calls through until one fails, then one a pause until one succeeds.

    An outage is logged when it begins and when it is over, however many calls meet it.
    """

    def __init__(self, subject: Dependency, clock: Callable[[], float] = time.monotonic) -> None:
        self._subject = subject
        self._clock = clock
        self._lock = threading.Lock()
        self._is_open = False
        self._since = 0.0
        self._try_again_at = 0.0

    def allow(self) -> bool:
        """Whether to try now; of many who ask an open breaker, one a pause may."""
        if not self._is_open:
            return True
        with self._lock:
            now = self._clock()
            if now < self._try_again_at:
                return False
            self._try_again_at = now + RETRY_INTERVAL
            return True

    def record_success(self) -> None:
        """It works again."""
        if not self._is_open:
            return
        with self._lock:
            was_open, self._is_open = self._is_open, False
        if was_open:
            seconds = round(self._clock() - self._since, 3)
            event = f"{self._subject}.reachable_again"
            log.info(event, after_seconds=seconds)

    def record_failure(self, error: BaseException) -> None:
        """It does not work."""
        with self._lock:
            now = self._clock()
            was_open, self._is_open = self._is_open, True
            self._try_again_at = now + RETRY_INTERVAL
            if not was_open:
                self._since = now
        if not was_open:
            event = f"{self._subject}.unreachable"
            log.warning(event, because=str(error), sort=type(error).__name__)

    @property
    def is_open(self) -> bool:
        """Whether a call now would not be let through."""
        return self._is_open and self._clock() < self._try_again_at
