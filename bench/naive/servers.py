"""Runs it on the same PostgreSQL and the same Redis as ours."""

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
from bench.stack import COURSE, LOOK_SECONDS, Ground, process, server
from tests.support.temporary_folders import working_folder

#: What it took over and answered: an event each.
ANSWERED = "SELECT coalesce(max(id), 0) FROM event"
PATH = "/enrollment"
BODY = json.dumps({"user": "u%010d", "mode": "audit", "course_id": COURSE})
#: Seconds without any progress after which nobody waits any longer.
STUCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Naive:
    """It runs, and how to speak to it."""

    port: int
    web_pid: int
    http: httpx.Client
    app: Celery
    nothing: Any
    answered: Count

    def wait_for_batch(self, number: int) -> None:
        """Returns when this many requests were answered since it began."""
        best, deadline = 0, time.monotonic() + STUCK_SECONDS
        while (now := self.answered()) < number:
            if now > best:
                best, deadline = now, time.monotonic() + STUCK_SECONDS
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {now} of {number} tasks ended")
            time.sleep(LOOK_SECONDS)


@contextmanager
def naive(ground: Ground, courses: bytes = b"", *, workers: int = 0) -> Iterator[Naive]:
    """A web process of it and workers, on empty tables, ready, with one open course and these."""
    broker = ground.redis.rpartition("/")[0] + "/1"  # the same Redis; ours flushes its own part
    with redis.Redis.from_url(broker) as client:
        client.flushdb()
    with ExitStack() as stack:
        url = stack.enter_context(ground.empty_database())
        storage.make(url, [{"course_id": COURSE}, *_each(courses)])
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
            tasks.nothing.delay().get(timeout=STUCK_SECONDS)
        yield Naive(
            port=port,
            web_pid=web.pid,
            http=stack.enter_context(
                httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300)
            ),
            app=tasks.app,
            nothing=tasks.nothing,
            answered=stack.enter_context(counting(url, ANSWERED)),
        )


def _each(courses: bytes) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in courses.splitlines()]
