"""The tasks: a name, a retry policy, one line each. They carry ids only."""

from typing import Any

from celery import Celery

from enrollment import logs
from enrollment.domain.errors import Conflict, RecordsUnavailable
from enrollment.failpoints import Point, reached
from enrollment.queue import TaskName
from worker.announcing import Announcer
from worker.processing import Processor
from worker.sweeping import Sweeper

#: The database is away, or others were first again and again: come back later and later for a
#: while, then leave it to the sweeper.
WHEN_DATABASE_RETURNS: dict[str, Any] = {
    "autoretry_for": (RecordsUnavailable, Conflict),
    "retry_backoff": 1,
    "retry_backoff_max": 20,
    "retry_jitter": True,
    "max_retries": 5,
}


def register(app: Celery, processor: Processor, sweeper: Sweeper, announcer: Announcer) -> None:
    """Declare every task on the app."""

    @app.task(name=TaskName.PROCESS.value, **WHEN_DATABASE_RETURNS)
    def process_batch(batch_id: int) -> None:
        """Answer an accepted batch and some behind it; say so, and ring for the next."""
        logs.clear()
        logs.bind(batch_id=batch_id)
        reached(Point.TASK_POPPED)
        for done in processor.process_in_turn(batch_id):
            if reached(Point.WORK_COMMITTED):
                processor.process(batch_id)
            announcer.tell(done)

    @app.task(name=TaskName.SWEEP.value)
    def sweep() -> None:
        """Ring again for what was forgotten."""
        sweeper.sweep()

    @app.task(name=TaskName.TIDY.value)
    def tidy() -> None:
        """Delete what is kept no longer."""
        sweeper.tidy()
