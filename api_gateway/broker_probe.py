"""Probes the message broker, if it is a server other than Redis.

The broker's library blocks, and a server that hangs blocks its thread. So one thread probes at
most once per `RESULT_TTL_SECONDS`, and callers wait at most `PROBE_TIMEOUT_SECONDS`.
"""

import asyncio
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog
from celery import Celery

from enrollment.runtime.broker import AMQP_SCHEMES, broker_settings
from enrollment.runtime.completion_channel import bounded_redis

log = structlog.get_logger()

#: Seconds that the broker may take to answer.
PROBE_TIMEOUT_SECONDS = 1.0
#: Seconds for which a result is reused.
RESULT_TTL_SECONDS = 5.0


def broker_ping(url: str) -> Callable[[], object]:
    """Returns a function that raises unless the broker at the URL answers. It may block."""
    if urlsplit(url).scheme not in AMQP_SCHEMES:
        return bounded_redis(url).ping
    app = Celery("enroll", set_as_current=False)
    app.conf.update(broker_settings(url, client="enroll-gateway"))

    def connect() -> None:
        with app.connection_for_write(connect_timeout=PROBE_TIMEOUT_SECONDS) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)

    return connect


class BrokerProbe:
    """Pings the broker, one ping at a time. Belongs to one event loop."""

    def __init__(
        self, ping: Callable[[], object], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._ping = ping
        self._monotonic = monotonic
        self._started_at = 0.0
        self._probe: asyncio.Task[bool] | None = None

    async def is_reachable(self) -> bool:
        """Whether the broker answers in time; a recent result is reused."""
        now = self._monotonic()
        probe = self._probe
        if probe is None or (probe.done() and now - self._started_at >= RESULT_TTL_SECONDS):
            self._started_at = now
            probe = self._probe = asyncio.create_task(asyncio.to_thread(self._run))
        remaining = max(0.0, self._started_at + PROBE_TIMEOUT_SECONDS - now)
        done, _ = await asyncio.wait([probe], timeout=remaining)
        return bool(done) and probe.result()

    def _run(self) -> bool:
        """Pings in a pool thread; returns whether the broker answered."""
        try:
            self._ping()
        except Exception as error:  # noqa: BLE001 (any error of the library means: not reachable)
            log.info("ready.queue_silent", because=str(error), sort=type(error).__name__)
            return False
        return True
