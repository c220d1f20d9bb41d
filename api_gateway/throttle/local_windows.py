"""Sliding windows of requests in this process."""

from collections import OrderedDict, deque
from typing import NamedTuple

from enrollment.runtime.setting_values import Rate

#: Most keys that are remembered; beyond it the one that was used longest ago is forgotten.
MAX_KEYS = 100_000


class Usage(NamedTuple):
    """Whether a request is admitted, and how much of its rate is left."""

    is_admitted: bool
    remaining: int
    #: Seconds until the oldest request leaves the window.
    reset_seconds: float


class LocalWindows:
    """Remembers the times of admitted requests by key."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def hit(self, key: str, rate: Rate, now: float) -> Usage:
        """Admits a request at `now` (seconds since 1970) if the window has a place for it."""
        times = self._times.setdefault(key, deque())
        self._times.move_to_end(key)
        if len(self._times) > self._max_keys:
            self._times.popitem(last=False)
        while times and not 0 <= now - times[0] <= rate.seconds:
            times.popleft()
        is_admitted = len(times) < rate.amount
        if is_admitted:
            times.append(now)
        return Usage(is_admitted, rate.amount - len(times), times[0] + rate.seconds - now)
