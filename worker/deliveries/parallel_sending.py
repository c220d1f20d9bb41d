"""Sends the messages of a slice, several at once."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from enrollment.domain.webhooks.records import Delivery
from worker.deliveries.attempt import AttemptOutcome


class EndedAttempt(NamedTuple):
    """An attempt, and the seconds from the start of its slice to its end."""

    delivery: Delivery
    outcome: AttemptOutcome
    seconds: float


class ParallelSending:
    """Makes one attempt for each delivery, in their order, until one fails or the time is over.

    Deliveries that must be sent one after the other must not be in one slice.
    """

    def __init__(
        self,
        attempt: Callable[[Delivery], AttemptOutcome],
        deliveries: Iterable[Delivery],
        *,
        elapsed: Callable[[], float],
        seconds: float,
        stopped: threading.Event,
    ) -> None:
        """`attempt` must raise nothing; `elapsed` returns the seconds since the slice began.

        No attempt begins once `stopped` is set.
        """
        self._attempt = attempt
        self._waiting = deque(deliveries)
        self._elapsed = elapsed
        self._seconds = seconds
        self._stopped = stopped
        self._has_failed = False
        self._ended: list[EndedAttempt] = []

    def run(self, threads: int) -> list[EndedAttempt]:
        """Returns the attempts in the order in which they ended; one is made however slow it is."""
        # Daemons: they must not hold up the end of the process.
        others = [threading.Thread(target=self._work, daemon=True) for _ in range(threads - 1)]
        for thread in others:
            thread.start()
        self._work()
        for thread in others:
            thread.join()
        return self._ended

    def _work(self) -> None:
        while self._may_begin:
            try:
                delivery = self._waiting.popleft()
            except IndexError:
                return
            outcome = self._attempt(delivery)
            self._has_failed |= outcome.error is not None
            self._ended.append(EndedAttempt(delivery, outcome, self._elapsed()))

    @property
    def _may_begin(self) -> bool:
        if self._has_failed or self._stopped.is_set():
            return False
        return not self._ended or self._elapsed() <= self._seconds
