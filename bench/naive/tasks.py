"""Its Celery application."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from celery import Celery, Task

from bench.naive import storage

#: Threads that publish at once.
POOL = 32


class Tasks(NamedTuple):
    """The application and what it can be asked for."""

    app: Celery
    enroll: Task[..., Any]
    nothing: Task[..., Any]


def make_tasks(redis_url: str, database_url: str) -> Tasks:
    """Tasks on a broker; a task lost with its worker is done again."""
    app = Celery("naive", broker=redis_url, backend=redis_url)
    app.conf.update(
        task_acks_late=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=32,  # the next task is there when one ends
        broker_pool_limit=POOL,
    )

    @app.task(name="naive.enroll")
    def enroll(request: Mapping[str, Any]) -> None:
        storage.enroll(database_url, request)

    @app.task(name="naive.nothing", ignore_result=False)
    def nothing() -> None:
        """Do nothing, and say so."""

    return Tasks(app, enroll, nothing)


def work(app: Celery) -> None:
    """Work in one process, with nothing on that the work does not need."""
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=warning"]
    app.worker_main(["worker", "--pool=prefork", "--concurrency=1", *quiet])
