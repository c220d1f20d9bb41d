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
from enrollment.storage.queue.batches import BatchRef

log = structlog.get_logger()

#: Maximum number of queued items; more are dropped, and maintenance re-dispatches the batches.
MAX_QUEUED_BATCHES = 10_000
#: Seconds after which an interactive message counts as lost if no worker reported completion,
#: and the next one is sent.
ACK_TIMEOUT_SECONDS = 0.2
#: The same after several such messages in a row: each doubles it. While workers stand still,
#: messages must not pile up, because files wait behind them afterwards.
MAX_ACK_TIMEOUT_SECONDS = 1.6

Send = Callable[[BatchRef], None]


def batch_sender(app: Celery) -> Send:
    """Returns a function that puts a batch id on the queue of its lane.

    The function raises the exceptions of the broker's library.
    """
    publisher = BatchPublisher(app)

    def send(batch: BatchRef) -> None:
        publisher.publish(batch.id, batch.lane, batch.traceparents)

    return send


class Dispatcher:
    """Sends batch ids to Celery from one background thread, never on a request's path.

    A worker that receives one interactive batch claims the whole lane, so at most one
    interactive message is in flight: the latest one is held back until the worker reports
    completion or `ACK_TIMEOUT_SECONDS` pass (more if that happened before). A lost message
    delays a batch by seconds: maintenance re-dispatches overdue batches.
    """

    def __init__(self, send: Send, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._monotonic = monotonic
        self._inbox: queue.Queue[BatchRef | frozenset[int] | None] = queue.Queue(MAX_QUEUED_BATCHES)
        self._in_flight: BatchRef | None = None
        self._sent_at = 0.0
        self._ack_timeout = ACK_TIMEOUT_SECONDS
        self._held_back: BatchRef | None = None
        self._breaker = CircuitBreaker(Dependency.QUEUE, monotonic)
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Sends the queued batches, then ends the thread; waits for it at most 5 seconds."""
        self._inbox.put(None)
        self._thread.join(timeout=5.0)

    def dispatch(self, batch: BatchRef) -> None:
        """Queues the batch id for sending. Never blocks."""
        self._put(batch)

    def on_completed(self, batch_ids: Iterable[int]) -> None:
        """Queues the ids of batches that workers completed. Never blocks."""
        self._put(frozenset(batch_ids))

    def _put(self, item: BatchRef | frozenset[int]) -> None:
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

    def _handle(self, item: BatchRef | frozenset[int]) -> None:
        """Handles one batch to be sent, or the ids of completed ones."""
        if isinstance(item, frozenset):
            self._complete(item)
        elif item.claims_lane and self._is_in_flight():
            self._held_back = item
        else:
            self._try_send(item)

    def _flush_expired(self) -> None:
        """Sends the held-back batch, unless the message in flight may still be acknowledged."""
        if not self._is_in_flight():
            self._flush()

    def _is_in_flight(self) -> bool:
        if self._in_flight is None:
            return False
        return self._monotonic() - self._sent_at < self._ack_timeout

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

    def _try_send(self, batch: BatchRef) -> None:
        """Sends a batch id; drops it if the circuit breaker is open or sending fails."""
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
        if batch.claims_lane:
            is_acknowledged = self._in_flight is None
            longer = min(2 * self._ack_timeout, MAX_ACK_TIMEOUT_SECONDS)
            self._ack_timeout = ACK_TIMEOUT_SECONDS if is_acknowledged else longer
            self._in_flight, self._sent_at = batch, self._monotonic()
