"""Notifications after a commit, best effort: dispatches the next batches and wakes waiters."""

import time
from collections.abc import Callable

import structlog
from celery import Celery

from enrollment.domain.codes import Lane
from enrollment.runtime.broker import BatchPublisher
from enrollment.runtime.circuit_breaker import CircuitBreaker, Dependency
from enrollment.runtime.completion_channel import CompletionPublisher
from enrollment.storage.queue.batches import BatchRef
from worker.processing.transaction import ProcessedBatches

log = structlog.get_logger()


class PostCommitNotifier:
    """Dispatches batches and publishes completion events. Lost messages are sent again later."""

    def __init__(
        self,
        app: Celery,
        completions: CompletionPublisher,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publisher = BatchPublisher(app)
        self._breaker = CircuitBreaker(Dependency.QUEUE, clock)
        self._completions = completions

    def dispatch(self, waiting: BatchRef) -> bool:
        """Puts a batch id on its queue; returns False where the broker is away or just was."""
        return self._publish(
            lambda: self._publisher.publish(waiting.id, waiting.lane, waiting.traceparents)
        )

    def dispatch_purge(self, turn: int) -> bool:
        """Puts a turn of the purge on the last queue, behind what waits there."""
        return self._publish(lambda: self._publisher.publish_purge(turn))

    def _publish(self, publish: Callable[[], None]) -> bool:
        """Publishes a message; returns False where the broker is away or just was."""
        if not self._breaker.allow():
            return False
        try:
            publish()
        except Exception as error:  # noqa: BLE001 (the batch is committed, even if this fails)
            self._breaker.record_failure(error)
            return False
        self._breaker.record_success()
        return True

    def queue_length(self, lane: Lane) -> int | None:
        """Returns the number of messages on a lane's queue; None if the broker is or was away."""
        if not self._breaker.allow():
            return None
        try:
            length = self._publisher.queue_length(lane)
        except Exception as error:  # noqa: BLE001 (the next run asks again)
            self._breaker.record_failure(error)
            return None
        self._breaker.record_success()
        return length

    def notify(self, processed: ProcessedBatches) -> None:
        """Dispatches the next batches, then publishes which ones were processed.

        Then logs which files are finished.
        """
        for waiting in processed.next:
            self.dispatch(waiting)
        if processed.batch_ids:
            self._completions.publish(processed.batch_ids, processed.submission_ids)
        for submission in processed.finished:
            log.info(
                "submission.done",
                submission_id=str(submission.id),
                rows=submission.rows,
                request_id=submission.request_id,
                counts={code.value: number for code, number in submission.tally.counts.items()},
            )
