"""Counters of the relay: events published to each channel, and how far it is behind."""

import threading
from typing import NamedTuple


class ChannelCount(NamedTuple):
    """The state of one channel when the relay looked last."""

    #: Events that this process published, including repetitions after a failure.
    published: int = 0
    #: Attempts to publish that failed.
    failures: int = 0
    lag_events: int = 0
    #: Age of the oldest event that is not published.
    lag_seconds: float = 0.0


class RelayCounters:
    """The counters of every channel. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, ChannelCount] = {}

    def add_published(self, channel: str, events: int) -> None:
        """Counts events that were published."""
        with self._lock:
            count = self._counts.get(channel, ChannelCount())
            self._counts[channel] = count._replace(published=count.published + events)

    def add_failure(self, channel: str) -> None:
        """Counts an attempt that failed."""
        with self._lock:
            count = self._counts.get(channel, ChannelCount())
            self._counts[channel] = count._replace(failures=count.failures + 1)

    def set_lag(self, channel: str, *, events: int, seconds: float) -> None:
        """Replaces how far a channel is behind."""
        with self._lock:
            count = self._counts.get(channel, ChannelCount())
            self._counts[channel] = count._replace(lag_events=events, lag_seconds=seconds)

    def by_channel(self) -> dict[str, ChannelCount]:
        """Returns a copy of the counters of each channel."""
        with self._lock:
            return dict(self._counts)
