"""The order in which a worker polls its queues: strict priority, with a share for lower lanes.

kombu's own `sorted` order is strict. A few single requests a second are enough for a message to
wait in the interactive lane at each poll, and then no file would be processed at all.
"""

import time
from collections.abc import Callable
from typing import Any

from kombu.utils.scheduling import sorted_cycle

from enrollment.runtime.broker import QueueName

#: Queues that get a share of the time that queues before them take.
_SHARING = (QueueName.SUBMIT, QueueName.BULK)
#: Seconds that such a queue gains for each second of one before it: it gets a fifth of the time.
GAIN = 0.25
#: Seconds that a queue may be owed, so that one that was empty does not delay single requests.
MAX_CREDIT = 0.1
#: Seconds that a queue may be ahead of its share: it was alone, or one of its messages took long.
MAX_DEBT = 1.0

#: Untyped: kombu has no stubs for this class.
_SortedCycle: Any = sorted_cycle


class LaneOrder(_SortedCycle):  # type: ignore[misc]
    """Polls queues in the order of their names, but first those that are owed time.

    A worker has one message at a time, so the time from its receipt to the next poll is what its
    processing took. Queues without messages are skipped by Redis, and lose nothing.
    """

    def __init__(
        self, it: list[str] | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(it)
        self._clock = clock
        self._received: tuple[str, float] | None = None
        self._credits = dict.fromkeys(map(str, _SHARING), 0.0)

    def consume(self, n: int) -> list[str]:
        """Returns the queues in the order of the next poll."""
        self._settle()
        return sorted(self.items[:n], key=self._rank)

    def rotate(self, last_used: str) -> str:
        """Records that a message of this queue was received."""
        self._settle()
        self._received = last_used, self._clock()
        return last_used

    def _rank(self, queue: str) -> tuple[bool, float, str]:
        credit = self._credits.get(queue, 0.0)
        return queue != QueueName.UPKEEP, -max(0.0, credit), queue

    def _settle(self) -> None:
        """Charges the queue of the last message, and credits those behind it."""
        if self._received is None:
            return
        (used, since), self._received = self._received, None
        took = self._clock() - since
        for queue, credit in self._credits.items():
            if queue == used:
                self._credits[queue] = max(credit - took, -MAX_DEBT)
            elif used != QueueName.UPKEEP:
                self._credits[queue] = min(credit + took * GAIN, MAX_CREDIT)
