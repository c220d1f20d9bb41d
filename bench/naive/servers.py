"""Runs the baseline on the PostgreSQL and Redis of the measured service."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import redis
from celery import Celery

from bench.naive import storage
from bench.naive.tasks import make_tasks
from bench.progress_query import Count, counting
from bench.stack import COURSE, POLL_SECONDS, Servers, process, server
from tests.support.temporary_folders import working_folder

#: Requests that were processed: one event each.
PROCESSED = "SELECT coalesce(max(id), 0) FROM event"
PATH = "/enrollment"
BODY = json.dumps({"user": "u%010d", "mode": "audit", "course_id": COURSE})
#: Seconds without progress after which a measure fails.
STALL_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NaiveService:
    """The running baseline and its clients."""

    port: int
    web_pid: int
    http: httpx.Client
    app: Celery
    no_op: Any
    processed: Count

    def wait_for_batch(self, number: int) -> None:
        """Waits until this many requests are processed. Raises RuntimeError without progress."""
        latest, deadline = 0, time.monotonic() + STALL_SECONDS
        while (now := self.processed()) < number:
            if now > latest:
                latest, deadline = now, time.monotonic() + STALL_SECONDS
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {now} of {number} tasks ended")
            time.sleep(POLL_SECONDS)


@contextmanager
def naive(servers: Servers, courses: bytes = b"", *, workers: int = 0) -> Iterator[NaiveService]:
    """Runs a web process and workers on empty tables, with one open course and the given ones."""
    broker = servers.redis.rpartition("/")[0] + "/1"  # the other measures flush database 0
    with redis.Redis.from_url(broker) as client:
        client.flushdb()
    with ExitStack() as stack:
        url = stack.enter_context(servers.empty_database())
        storage.create_tables(url, [{"course_id": COURSE}, *_each(courses)])
        environment = {"NAIVE_DATABASE_URL": url, "NAIVE_REDIS_URL": broker}
        folder = stack.enter_context(working_folder(on_disk=True))
        made = server("bench.naive", "web", environment=environment, path="/", folder=folder)
        port, web = stack.enter_context(made)
        for number in range(workers):
            log = folder / f"worker-{number}.log"
            one = process("bench.naive", "worker", environment=environment, log=log)
            stack.enter_context(one)
        tasks = make_tasks(broker, url)
        stack.callback(tasks.app.close)
        if workers:
            tasks.no_op.delay().get(timeout=STALL_SECONDS)
        yield NaiveService(
            port=port,
            web_pid=web.pid,
            http=stack.enter_context(
                httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300)
            ),
            app=tasks.app,
            no_op=tasks.no_op,
            processed=stack.enter_context(counting(url, PROCESSED)),
        )


def _each(courses: bytes) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in courses.splitlines()]
