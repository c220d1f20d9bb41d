"""The tasks: a name and one line each. They carry ids only."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from celery import Celery

from enrollment.domain.errors import Conflict, RecordsUnavailable
from enrollment.runtime import logs
from enrollment.runtime.broker import REDISPATCH_INTERVAL, TaskName
from enrollment.runtime.failpoints import Point, fail_point
from worker.maintenance import Maintenance, MinInterval
from worker.post_commit import PostCommitNotifier
from worker.processing.processor import Processor

log = structlog.get_logger()

#: Ids of batches are below this.
_TOO_LARGE = 1 << 63


def register(
    app: Celery, processor: Processor, sweeper: Maintenance, announcer: PostCommitNotifier
) -> None:
    """Declare every task on the app."""
    seldom = MinInterval(REDISPATCH_INTERVAL / 2)

    @app.task(name=TaskName.PROCESS.value)
    def process_batch(batch_id: int) -> None:
        """Answer an accepted batch and some behind it; say so, and ring for the next."""
        logs.clear()
        logs.bind(batch_id=batch_id)
        if not _is_id(batch_id):
            log.warning("message.without_batch")
            return
        fail_point(Point.TASK_POPPED)
        with _left_to_maintenance():
            for done in processor.process_in_turn(batch_id):
                if fail_point(Point.WORK_COMMITTED):
                    processor.process(batch_id)
                announcer.tell(done)

    @app.task(name=TaskName.REDISPATCH.value)
    def sweep() -> None:
        """Ring again for what was forgotten."""
        with _left_to_maintenance():
            if seldom.lets_through():
                sweeper.sweep()

    @app.task(name=TaskName.PURGE.value)
    def tidy() -> None:
        """Delete what is kept no longer."""
        with _left_to_maintenance():
            sweeper.tidy()


def _is_id(given: object) -> bool:
    return type(given) is int and 0 < given < _TOO_LARGE


@contextmanager
def _left_to_maintenance() -> Iterator[None]:
    """The database is away, or others were first again and again: the next sweep rings again.

    Nothing is put back on the queue to wait there: the records know what is to be done.
    """
    try:
        yield
    except (Conflict, RecordsUnavailable) as error:
        log.warning("task.postponed", because=str(error))
