"""Wakes the relay when a worker has committed: it listens to completion events."""

import threading
from collections.abc import Callable

import structlog
from redis.exceptions import RedisError

from enrollment.runtime.completion_channel import COMPLETION_CHANNEL, bounded_redis

log = structlog.get_logger()

#: Seconds between two attempts to subscribe, and in which the end of the process is noticed.
_PAUSE_SECONDS = 1.0


class WakeListener:
    """Calls a function for each completion event, as long as Redis is there.

    Best effort: without it the relay looks for new events every second.
    """

    def __init__(self, url: str, on_event: Callable[[], None]) -> None:
        self._redis = bounded_redis(url, timeout=2.0)
        self._on_event = on_event

    def run(self, stop: threading.Event) -> None:
        """Listens until `stop` is set; subscribes again after each failure."""
        while not stop.is_set():
            try:
                self._listen(stop)
            except (RedisError, OSError) as error:
                log.debug("relay.wake_lost", because=str(error))
                stop.wait(_PAUSE_SECONDS)

    def _listen(self, stop: threading.Event) -> None:
        with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call]
            pubsub.subscribe(COMPLETION_CHANNEL)
            while not stop.is_set():
                if pubsub.get_message(timeout=_PAUSE_SECONDS) is not None:
                    self._on_event()
