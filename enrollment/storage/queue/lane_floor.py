"""The floor of a lane: the start of waiting from which queries search its index."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

#: How far the floor stays below the oldest batch found: one that began to wait earlier may commit
#: later.
MARGIN = timedelta(seconds=10)
#: Seconds after the end of a full search from which the next one is due.
FULL_SEARCH_INTERVAL = 1.0


class LaneFloor:
    """Where one query of one process begins to search a lane. Not safe to share between threads.

    While an old snapshot is open, PostgreSQL keeps the index entries of completed batches. A full
    search passes all of them, one from the floor only those of the last seconds. A batch below the
    floor is found by the next full search: it was invisible or locked during the last one.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._floor: datetime | None = None
        self._searched_at = 0.0

    def search_start(self, including: datetime | None = None) -> datetime | None:
        """Returns where a search begins that finds a batch which waits since `including`.

        None if a full search is due. Below the floor only this search begins there.
        """
        if self._monotonic() - self._searched_at >= FULL_SEARCH_INTERVAL:
            self._floor = None
        if self._floor is None or including is None:
            return self._floor
        return min(self._floor, including)

    def record_full_search(self, oldest: datetime) -> None:
        """Sets the floor below the oldest batch that a full search found.

        `oldest` is the time of the database if it found none.
        """
        self._floor = oldest - MARGIN
        self._searched_at = self._monotonic()
