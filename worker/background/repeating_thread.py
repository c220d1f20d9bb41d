"""A thread that repeats a step for as long as its process runs, also while servers are away."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import structlog
from redis import RedisError

from enrollment.domain.errors import EnrollmentError

log = structlog.get_logger()

#: Seconds for which the end of a step is waited for.
JOIN_SECONDS = 5.0

#: Does a piece of work; returns the seconds until the next one.
RepeatedStep = Callable[[], float]


class LoopEvents(NamedTuple):
    """Names of the log events of a loop."""

    #: A server is away, or a lock was lost: it goes on by itself.
    interrupted: str
    #: An error of the program.
    failed: str
    #: The first step that succeeded after either.
    resumed: str


class Pauses(NamedTuple):
    """Seconds until the next attempt."""

    #: After a server was away.
    outage: float = 1.0
    #: After any other error, such as missing migrations.
    failure: float = 1.0


DEFAULT_PAUSES = Pauses()


class RepeatingThread:
    """Repeats a step until it is stopped; no failure ends it.

    A failure is logged when its type is another than that of the last one, and so is its end.
    """

    def __init__(
        self,
        name: str,
        step: RepeatedStep,
        events: LoopEvents,
        *,
        pauses: Pauses = DEFAULT_PAUSES,
        unwoken_rest: float = 0.0,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        """Makes a thread that is not started.

        `wake` cuts short no rest of up to `unwoken_rest` seconds. `at_end` is called in the
        thread after the last step.
        """
        self.name = name
        self._step = step
        self._events = events
        self._pauses = pauses
        self._unwoken_rest = unwoken_rest
        self._at_end = at_end
        self._stopped = threading.Event()
        self._woken = threading.Event()
        self._failure: type[Exception] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Ends the rest after the current step, or the step before the next one."""
        self._woken.set()

    def stop(self) -> None:
        """Ends the thread after the current step; one that takes too long is left behind."""
        self.request_stop()
        if self._thread.ident is not None:
            self._thread.join(timeout=JOIN_SECONDS)

    def request_stop(self) -> None:
        """Makes the current step the last one. Does not wait for its end."""
        self._stopped.set()
        self._woken.set()

    def is_alive(self) -> bool:
        """Returns whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while True:
            self._woken.clear()
            if self._stopped.is_set():
                break
            self._rest(self._try(self._step))
        if self._at_end is not None:
            self._try(self._at_end)

    def _rest(self, seconds: float) -> None:
        if seconds > 0.0:
            is_short = seconds <= self._unwoken_rest
            (self._stopped if is_short else self._woken).wait(seconds)

    def _try(self, work: Callable[[], float | None]) -> float:
        """Does some work; returns the seconds until the next step."""
        try:
            rest = work()
        except (RedisError, OSError, EnrollmentError) as error:
            if self._is_new(error):
                log.warning(self._events.interrupted, loop=self.name, because=str(error))
            return self._pauses.outage
        except Exception as error:  # the border of the thread: it goes on after any failure
            if self._is_new(error):
                log.exception(self._events.failed, loop=self.name)
            return self._pauses.failure
        if self._failure is not None:
            self._failure = None
            log.info(self._events.resumed, loop=self.name)
        return rest or 0.0

    def _is_new(self, error: Exception) -> bool:
        """Returns whether a failure is no repetition of the last one."""
        is_new = type(error) is not self._failure
        self._failure = type(error)
        return is_new


def stop_together(threads: Iterable[RepeatingThread]) -> None:
    """Ends threads; they take their last steps at the same time."""
    ending = list(threads)
    for thread in ending:
        thread.request_stop()
    for thread in ending:
        thread.stop()


def join_together(threads: Iterable[threading.Thread], *, seconds: float = JOIN_SECONDS) -> bool:
    """Waits for the ends of threads, for a time in all; returns whether all have ended."""
    ending = [thread for thread in threads if thread.ident is not None]
    deadline = time.monotonic() + seconds
    for thread in ending:
        thread.join(max(deadline - time.monotonic(), 0.0))
    return not any(thread.is_alive() for thread in ending)
