"""The tasks: a name and one line each. They carry ids only."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from celery import Celery

from enrollment.domain.errors import Conflict, RecordsUnavailable
from enrollment.runtime import logs
from enrollment.runtime.broker import SWEEP_EVERY, TaskName
from enrollment.runtime.failpoints import Point, reached
from worker.maintenance import Seldom, Sweeper
from worker.post_commit import Announcer
from worker.processing.processor import Processor

log = structlog.get_logger()

#: Ids of batches are below this.
_TOO_LARGE = 1 << 63


def register(app: Celery, processor: Processor, sweeper: Sweeper, announcer: Announcer) -> None:
    """Declare every task on the app."""
    seldom = Seldom(SWEEP_EVERY / 2)

    @app.task(name=TaskName.PROCESS.value)
    def process_batch(batch_id: int) -> None:
        """Answer an accepted batch and some behind it; say so, and ring for the next."""
        logs.clear()
        logs.bind(batch_id=batch_id)
        if not _is_id(batch_id):
            log.warning("message.without_batch")
            return
        reached(Point.TASK_POPPED)
        with _left_to_the_sweep():
            for done in processor.process_in_turn(batch_id):
                if reached(Point.WORK_COMMITTED):
                    processor.process(batch_id)
                announcer.tell(done)

    @app.task(name=TaskName.SWEEP.value)
    def sweep() -> None:
        """Ring again for what was forgotten."""
        with _left_to_the_sweep():
            if seldom.lets_through():
                sweeper.sweep()

    @app.task(name=TaskName.TIDY.value)
    def tidy() -> None:
        """Delete what is kept no longer."""
        with _left_to_the_sweep():
            sweeper.tidy()


def _is_id(given: object) -> bool:
    return type(given) is int and 0 < given < _TOO_LARGE


@contextmanager
def _left_to_the_sweep() -> Iterator[None]:
    """The database is away, or others were first again and again: the next sweep rings again.

    Nothing is put back on the queue to wait there: the records know what is to be done.
    """
    try:
        yield
    except (Conflict, RecordsUnavailable) as error:
        log.warning("task.postponed", because=str(error))
