"""After the commit, best effort: wake the waiters, ring for the next batches."""

import time
from collections.abc import Callable

from celery import Celery

from enrollment.runtime.broker import BatchPublisher
from enrollment.runtime.circuit_breaker import CircuitBreaker, Dependency
from enrollment.runtime.completion_channel import CompletionPublisher
from enrollment.storage.queue.batches import Waiting
from worker.processing.transaction import ProcessedBatches


class PostCommitNotifier:
    """Puts ids on the queue and says what was answered. What gets lost the sweeper finds."""

    def __init__(
        self, app: Celery, bell: CompletionPublisher, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._publisher = BatchPublisher(app)
        self._breaker = CircuitBreaker(Dependency.QUEUE, clock)
        self._bell = bell

    def announce(self, waiting: Waiting) -> bool:
        """Ring for a batch; False where the queue cannot be reached, or could not just now."""
        if not self._breaker.allow():
            return False
        try:
            self._publisher.publish(waiting.id, waiting.lane)
        except Exception as error:  # noqa: BLE001 (what was done is done, whatever fails here)
            self._breaker.record_failure(error)
            return False
        self._breaker.record_success()
        return True

    def tell(self, done: ProcessedBatches) -> None:
        """Ring for what is next, then wake those who wait for what was answered."""
        for waiting in done.next:
            self.announce(waiting)
        if done.batch_ids:
            self._bell.publish(done.batch_ids, done.submission_ids)
