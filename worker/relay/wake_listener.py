"""Wakes the relay when a worker has committed: it listens to completion events."""

from collections.abc import Callable

from redis.client import PubSub

from enrollment.runtime.completion_channel import COMPLETION_CHANNEL, bounded_redis

#: Seconds for which an event is waited for at once: then the end of the process is noticed.
_WAIT_SECONDS = 1.0


class WakeListener:
    """Calls a function for each completion event, as long as Redis is there.

    Best effort: without it the relay looks for new events every second. Used by one thread.
    """

    def __init__(self, url: str, on_event: Callable[[], None]) -> None:
        self._redis = bounded_redis(url, timeout=2.0)
        self._on_event = on_event
        self._subscription: PubSub | None = None

    def listen(self) -> float:
        """Waits a second for an event; subscribes first if need be. Raises RedisError, OSError."""
        if self._subscription is None:
            self._subscription = self._redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        try:
            if not self._subscription.subscribed:
                self._subscription.subscribe(COMPLETION_CHANNEL)
            if self._subscription.get_message(timeout=_WAIT_SECONDS) is not None:
                self._on_event()
        except Exception:
            self.close()
            raise
        return 0.0

    def close(self) -> None:
        """Ends the subscription."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
