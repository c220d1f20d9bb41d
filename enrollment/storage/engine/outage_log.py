"""Logs the beginning and the end of an outage of the database, once each in a process."""

import threading
import time
from collections.abc import Callable

import structlog

from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage.engine.error_mapping import is_no_answer

log = structlog.get_logger()


class OutageLog:
    """Knows whether the last transaction reached the database. Safe to share between threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._is_out = False
        self._since = 0.0

    def record_failure(self, error: DatabaseUnavailable) -> None:
        """Logs `database.unreachable` if the database did not answer, and did before."""
        if not is_no_answer(error.__cause__):
            return
        with self._lock:
            if self._is_out:
                return
            self._is_out, self._since = True, self._monotonic()
        log.error("database.unreachable", because=str(error))

    def record_success(self) -> None:
        """Logs `database.reachable_again` after an outage."""
        if not self._is_out:
            return
        with self._lock:
            was_out, self._is_out = self._is_out, False
        if was_out:
            seconds = round(self._monotonic() - self._since, 3)
            log.info("database.reachable_again", after_seconds=seconds)
