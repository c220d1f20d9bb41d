"""The Celery tasks. Their messages carry ids only; each task calls one function."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeGuard

import structlog
from celery import Celery

from enrollment.domain.errors import Conflict, DatabaseUnavailable
from enrollment.runtime import logs
from enrollment.runtime.broker import REDISPATCH_INTERVAL, TaskName
from enrollment.runtime.failpoints import Point, fail_point
from worker.maintenance import Maintenance, MinInterval
from worker.post_commit import PostCommitNotifier
from worker.processing.processor import Processor
from worker.purge import Purge

log = structlog.get_logger()

#: Ids of batches are below this: the column is a signed 64-bit integer.
_ID_LIMIT = 1 << 63


def register(
    app: Celery,
    processor: Processor,
    maintenance: Maintenance,
    purge: Purge,
    notifier: PostCommitNotifier,
) -> None:
    """Declares every task on the app."""
    redispatch_interval = MinInterval(REDISPATCH_INTERVAL / 2)

    @app.task(name=TaskName.PROCESS.value)
    def process_batch(batch_id: int) -> None:
        """Processes a batch and some behind it, and notifies after each commit."""
        logs.clear()
        logs.bind(batch_id=batch_id)
        if not _is_batch_id(batch_id):
            log.warning("message.without_batch")
            return
        fail_point(Point.TASK_POPPED)
        with _postponed_on_failure():
            for processed in processor.process_in_turn(batch_id):
                if fail_point(Point.WORK_COMMITTED):
                    processor.process(batch_id)
                notifier.notify(processed)

    @app.task(name=TaskName.REDISPATCH.value)
    def redispatch_overdue() -> None:
        """Re-dispatches overdue batches, unless that was done a moment ago."""
        with _postponed_on_failure():
            if redispatch_interval.lets_through():
                maintenance.redispatch_overdue()

    _register_purge(app, purge, notifier)


def _register_purge(app: Celery, purge: Purge, notifier: PostCommitNotifier) -> None:
    @app.task(name=TaskName.PURGE.value)
    def purge_expired(turn: int | None = None) -> None:
        """Deletes data past its retention for a turn, and dispatches the next turn."""
        with _postponed_on_failure():
            following = purge.run_turn(turn if _is_batch_id(turn) else None)
            if following is not None:
                notifier.dispatch_purge(following)


def _is_batch_id(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 < value < _ID_LIMIT


@contextmanager
def _postponed_on_failure() -> Iterator[None]:
    """Logs that the task is postponed where the database is away or every retry met a conflict.

    The message is not put back on the queue: the database knows which work is left, and the
    batch is re-dispatched.
    """
    try:
        yield
    except (Conflict, DatabaseUnavailable) as error:
        log.warning("task.postponed", because=str(error))
