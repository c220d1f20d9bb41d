"""Whether the queue answers, where it is another server than the Redis beside it.

Its library blocks, and a server that is there and says nothing keeps who asks it. So one thread
asks, now and then, and those who want to know wait for a second at most.
"""

import asyncio
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog
from celery import Celery

from enrollment.queue import AMQP, broker_settings
from enrollment.waking import bounded_redis

log = structlog.get_logger()

#: Seconds that the queue may take to answer.
LOOK_SECONDS = 1.0
#: Seconds for which its answer is given to everybody else.
KEPT_SECONDS = 5.0


def asking(url: str) -> Callable[[], object]:
    """What raises where nobody serves the queue at the URL; it may block for some seconds."""
    if urlsplit(url).scheme not in AMQP:
        return bounded_redis(url).ping
    app = Celery("enroll", set_as_current=False)
    app.conf.update(broker_settings(url, client="enroll-gateway"))

    def connect() -> None:
        with app.connection_for_write(connect_timeout=LOOK_SECONDS) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)

    return connect


class QueueWatch:
    """Asks the queue for a sign of life, never twice at a time. Belongs to one event loop."""

    def __init__(
        self, ask: Callable[[], object], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._monotonic = monotonic
        self._asked_at = 0.0
        self._asking: asyncio.Task[bool] | None = None

    async def is_heard(self) -> bool:
        """Whether the queue answers; what it said a moment ago holds, and silence is no."""
        now = self._monotonic()
        asking = self._asking
        if asking is None or (asking.done() and now - self._asked_at >= KEPT_SECONDS):
            self._asked_at = now
            asking = self._asking = asyncio.create_task(asyncio.to_thread(self._asked))
        left = max(0.0, self._asked_at + LOOK_SECONDS - now)
        done, _ = await asyncio.wait([asking], timeout=left)
        return bool(done) and asking.result()

    def _asked(self) -> bool:
        try:
            self._ask()
        except Exception as error:  # noqa: BLE001 (whatever its library raises: it does not answer)
            log.info("ready.queue_silent", because=str(error), sort=type(error).__name__)
            return False
        return True
