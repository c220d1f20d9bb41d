"""Threads that repeat one step for as long as their process runs, also while servers are away."""

import threading
from collections.abc import Callable

import structlog
from redis import RedisError

from enrollment.domain.errors import EnrollmentError

log = structlog.get_logger()

#: Seconds after a failure until the next attempt.
FAILURE_PAUSE = 1.0
#: Seconds for which the end of a step is waited for.
JOIN_SECONDS = 5.0

#: Does a piece of work; returns the seconds until the next one.
RepeatedStep = Callable[[], float]


class RepeatingThread:
    """Repeats a step. A failure is logged once until a step succeeds again."""

    def __init__(self, name: str, step: RepeatedStep) -> None:
        self._name = name
        self._step = step
        self._stopped = threading.Event()
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the current step."""
        self._stopped.set()
        self._thread.join(timeout=JOIN_SECONDS)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            pause = self._repeat()

    def _repeat(self) -> float:
        """Takes one step; returns the seconds until the next one."""
        try:
            pause = self._step()
        except (RedisError, OSError, EnrollmentError) as error:
            if not self._is_failing:
                log.warning("inbound.interrupted", loop=self._name, because=str(error))
        except Exception:  # the thread must survive any failure
            if not self._is_failing:
                log.exception("inbound.failed", loop=self._name)
        else:
            if self._is_failing:
                log.info("inbound.resumed", loop=self._name)
            self._is_failing = False
            return pause
        self._is_failing = True
        return FAILURE_PAUSE
