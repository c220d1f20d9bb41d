"""Sends batch ids to the message queue from one background thread."""

import queue
import threading
import time
from collections.abc import Callable, Iterable

import structlog
from celery import Celery

from enrollment.runtime.broker import BatchPublisher
from enrollment.runtime.circuit_breaker import CircuitBreaker, Dependency
from enrollment.runtime.failpoints import Point, fail_point
from enrollment.storage.queue.batches import Waiting

log = structlog.get_logger()

#: Batches that may wait for the thread; more are dropped.
MAX_WAITING = 10_000
#: Seconds after which a message of the interactive lane no longer holds others back, even if
#: no worker has reported completion.
ACK_TIMEOUT_SECONDS = 0.2

Send = Callable[[Waiting], None]


def batch_sender(app: Celery) -> Send:
    """Return a function that puts a batch id on its lane's queue.

    It raises whatever the broker's library raises.
    """
    publisher = BatchPublisher(app)

    def send(batch: Waiting) -> None:
        publisher.publish(batch.id, batch.lane)

    return send


class Dispatcher:
    """Sends batch ids to Celery from one background thread, never on a request's path.

    A worker that receives one interactive batch claims the whole lane, so at most one
    interactive message is in flight: the latest one is held back until the worker reports
    completion or `ACK_TIMEOUT_SECONDS` pass. A lost message costs seconds, not requests:
    maintenance re-announces overdue batches.
    """

    def __init__(self, send: Send, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._monotonic = monotonic
        self._inbox: queue.Queue[Waiting | frozenset[int] | None] = queue.Queue(MAX_WAITING)
        self._in_flight: Waiting | None = None
        self._sent_at = 0.0
        self._held_back: Waiting | None = None
        self._breaker = CircuitBreaker(Dependency.QUEUE, monotonic)
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Send what waits, then end the thread."""
        self._inbox.put(None)
        self._thread.join(timeout=5.0)

    def dispatch(self, batch: Waiting) -> None:
        """Send the batch id soon. Never blocks."""
        self._put(batch)

    def on_completed(self, batch_ids: Iterable[int]) -> None:
        """Take note that workers completed batches. Never blocks."""
        self._put(frozenset(batch_ids))

    def _put(self, item: Waiting | frozenset[int]) -> None:
        try:
            self._inbox.put_nowait(item)
        except queue.Full:
            log.warning("ring.dropped")

    def _run(self) -> None:
        while True:
            try:
                item = self._inbox.get(timeout=ACK_TIMEOUT_SECONDS)
            except queue.Empty:
                self._flush_expired()
                continue
            if item is None:
                self._flush()
                return
            self._handle(item)

    def _handle(self, item: Waiting | frozenset[int]) -> None:
        """Process one batch to be sent, or the ids of completed ones."""
        if isinstance(item, frozenset):
            self._complete(item)
        elif item.is_for_all and self._is_in_flight():
            self._held_back = item
        else:
            self._try_send(item)

    def _flush_expired(self) -> None:
        """Send what was held back, unless the message in flight has time left."""
        if not self._is_in_flight():
            self._flush()

    def _is_in_flight(self) -> bool:
        if self._in_flight is None:
            return False
        return self._monotonic() - self._sent_at < ACK_TIMEOUT_SECONDS

    def _complete(self, batch_ids: frozenset[int]) -> None:
        if self._held_back is not None and self._held_back.id in batch_ids:
            self._held_back = None
        if self._in_flight is not None and self._in_flight.id in batch_ids:
            self._in_flight = None
            self._flush()

    def _flush(self) -> None:
        held_back, self._held_back = self._held_back, None
        if held_back is not None:
            self._try_send(held_back)

    def _try_send(self, batch: Waiting) -> None:
        if not self._breaker.allow():
            return
        try:
            fail_point(Point.RING_BEFORE)
            self._send(batch)
            if fail_point(Point.RING_SENT):
                self._send(batch)
        except Exception as error:  # noqa: BLE001 (the thread must survive any failure)
            self._breaker.record_failure(error)
            return
        self._breaker.record_success()
        if batch.is_for_all:
            self._in_flight, self._sent_at = batch, self._monotonic()
