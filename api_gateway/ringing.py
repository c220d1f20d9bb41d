"""The doorbell: one thread that tells the queue which batches wait, never on a request's path.

A ring that gets lost costs seconds, not requests: the sweeper rings again.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable

import structlog
from celery import Celery

from enrollment.breaker import Breaker, Subject
from enrollment.failpoints import Point, reached
from enrollment.queue import Publisher
from enrollment.storage.batches import Waiting

log = structlog.get_logger()

#: Rings that may wait for the thread; more are dropped.
MAX_WAITING = 10_000
#: Seconds after which an unanswered ring of the interactive lane no longer holds others back.
PATIENCE = 0.2

Send = Callable[[Waiting], None]


def sender(app: Celery) -> Send:
    """Puts a batch's id on its lane's queue. Raises whatever the broker's library raises."""
    publisher = Publisher(app)

    def send(waiting: Waiting) -> None:
        publisher.send(waiting.id, waiting.lane)

    return send


class Ringer:
    """Rings for batches.

    Whoever is rung for the interactive lane takes everything that waits there, so while one
    ring is unanswered no other is sent; the newest is kept for when the answer came.
    """

    def __init__(self, send: Send, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._monotonic = monotonic
        self._inbox: queue.Queue[Waiting | frozenset[int] | None] = queue.Queue(MAX_WAITING)
        self._unanswered: Waiting | None = None
        self._sent_at = 0.0
        self._held_back: Waiting | None = None
        self._breaker = Breaker(Subject.QUEUE, monotonic)
        self._thread = threading.Thread(target=self._run, name="ringer", daemon=True)

    def start(self) -> None:
        """Begin to ring."""
        self._thread.start()

    def stop(self) -> None:
        """Ring for what waits, then end."""
        self._inbox.put(None)
        self._thread.join(timeout=5.0)

    def ring(self, waiting: Waiting) -> None:
        """Ring soon; never blocks."""
        self._put(waiting)

    def answered(self, batch_ids: Iterable[int]) -> None:
        """Hear that batches were answered; never blocks."""
        self._put(frozenset(batch_ids))

    def _put(self, item: Waiting | frozenset[int]) -> None:
        try:
            self._inbox.put_nowait(item)
        except queue.Full:
            log.warning("ring.dropped")

    def _run(self) -> None:
        while True:
            try:
                item = self._inbox.get(timeout=PATIENCE)
            except queue.Empty:
                self.look_again()
                continue
            if item is None:
                self._release()
                return
            self.take(item)

    def take(self, item: Waiting | frozenset[int]) -> None:
        """One ring, or one answer."""
        if isinstance(item, frozenset):
            self._hear(item)
        elif item.is_for_all and self._is_waiting():
            self._held_back = item
        else:
            self._try(item)

    def look_again(self) -> None:
        """No answer came for a while: what was held back is rung for."""
        if not self._is_waiting():
            self._release()

    def _is_waiting(self) -> bool:
        return self._unanswered is not None and self._monotonic() - self._sent_at < PATIENCE

    def _hear(self, batch_ids: frozenset[int]) -> None:
        if self._held_back is not None and self._held_back.id in batch_ids:
            self._held_back = None
        if self._unanswered is not None and self._unanswered.id in batch_ids:
            self._unanswered = None
            self._release()

    def _release(self) -> None:
        held_back, self._held_back = self._held_back, None
        if held_back is not None:
            self._try(held_back)

    def _try(self, waiting: Waiting) -> None:
        if not self._breaker.lets_through():
            return
        try:
            reached(Point.RING_BEFORE)
            self._send(waiting)
            if reached(Point.RING_SENT):
                self._send(waiting)
        except Exception as error:  # noqa: BLE001 (a doorbell that dies rings for nobody)
            self._breaker.failed(error)
            return
        self._breaker.succeeded()
        if waiting.is_for_all:
            self._unanswered, self._sent_at = waiting, self._monotonic()
