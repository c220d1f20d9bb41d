"""The Celery application of the baseline."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from celery import Celery, Task

from bench.naive import storage

#: Threads of the web process that publish concurrently.
POOL = 32


class Tasks(NamedTuple):
    """The application and its tasks."""

    app: Celery
    enroll: Task[..., Any]
    no_op: Task[..., Any]


def make_tasks(redis_url: str, database_url: str) -> Tasks:
    """Returns the tasks on a broker; a task is delivered again if its worker dies."""
    app = Celery("naive", broker=redis_url, backend=redis_url)
    app.conf.update(
        task_acks_late=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=32,  # the next task is already there when one ends
        broker_pool_limit=POOL,
    )

    @app.task(name="naive.enroll")
    def enroll(request: Mapping[str, Any]) -> None:
        storage.enroll(database_url, request)

    @app.task(name="naive.no_op", ignore_result=False)
    def no_op() -> None:
        """Does nothing and has a result."""

    return Tasks(app, enroll, no_op)


def work(app: Celery) -> None:
    """Runs a worker with one process and without optional features."""
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=warning"]
    app.worker_main(["worker", "--pool=prefork", "--concurrency=1", *quiet])
