"""Slows down messages to other systems while files are being processed.

A worker needs most of a small machine while it processes a file. A message that is sent meanwhile
takes that from it, and can as well be sent a little later.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue.backlog import has_waiting_files

#: Seconds of rest for each second of processor time, while a file is being processed.
REST_FACTOR = 20.0
#: Longest rest in seconds.
LONGEST_REST = 0.9
#: Age in seconds from which messages are sent at full speed all the same: under constant load they
#: are no later than that.
MAX_AGE_SECONDS = 30.0


@dataclass(slots=True)
class Pace:
    """Says how long a thread rests after a step. Used by one thread."""

    #: Returns whether batches of files wait.
    is_busy: Callable[[], bool]
    thread_time: Callable[[], float] = time.thread_time
    _spent: float = 0.0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Measures the processor time of the block."""
        started = self.thread_time()
        yield
        self._spent = self.thread_time() - started

    def rest(self, age: float) -> float:
        """Returns the seconds to rest after the last step, 0 for none.

        `age` is that of the oldest message, in seconds.
        """
        return min(self._spent * REST_FACTOR, LONGEST_REST) if self.must_yield(age) else 0.0

    def must_yield(self, age: float) -> bool:
        """Returns whether messages, the oldest of them of this age in seconds, can wait."""
        return age < MAX_AGE_SECONDS and self.is_busy()


def file_pace(sessions: Sessions) -> Pace:
    """Returns a pace that rests while batches of files wait or are processed."""

    def is_busy() -> bool:
        with sessions.read() as session:
            return has_waiting_files(session)

    return Pace(is_busy)
