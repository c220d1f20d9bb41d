"""Redis well, frozen, killed, forgetful: two gateways stay true and nothing that was taken is lost."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

import httpx
import pytest
import redis

from enrollment.runtime.broker import QueueName
from tests.support.row_counts import row_counts
from tests.support.service_processes import ended, needs_proc, open_course, wait_until

pytestmark = needs_proc

ROUNDS, SINGLES, ROWS = 5, 20, 2_500
ASYNC = {"Prefer": "respond-async"}


@contextmanager
def trouble(server, sort: str) -> Iterator[None]:
    """Inside the block Redis is well, or there and deaf, or gone with all it held."""
    if sort == "frozen":
        server.hold()
    elif sort == "killed":
        server.kill()
    try:
        yield
    finally:
        if sort == "frozen":
            server.release()
        elif sort == "killed":
            server.start()


class Reader:
    """Reads one course from one gateway as fast as it can, and notes what is older than told."""

    def __init__(self, http: httpx.Client, path: str) -> None:
        self.published = 0
        self.reads = 0
        self.stale: list[str] = []
        self._http, self._path = http, path
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read_all)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _read_all(self) -> None:
        while not self._over.is_set():
            known = self.published
            answer = self._http.get(self._path)
            if answer.status_code != 200 or int(answer.json()["course_name"]) < known:
                self.stale.append(f"{known} was published: {answer.status_code} {answer.text}")
            self.reads += 1


@pytest.mark.parametrize("sort", ["well", "frozen", "killed"])
def test_when_a_course_was_put_no_gateway_serves_the_old_one(production, sort):
    course = f"course-v1:Uni+Fresh+{sort}"
    path = f"/course/{course}"

    def put(http, number):
        put = http.put(f"/courses/{course}", json=open_course(course, course_name=str(number)))
        assert put.is_success, put.text
        for reader in readers:
            reader.published = number
        for other in gateways:
            assert other.get(path).json()["course_name"] == str(number)
        seen = [reader.reads for reader in readers]
        wait_until(lambda: all(r.reads > n + 1 for r, n in zip(readers, seen, strict=True)))

    with production.clients() as gateways, production.clients() as (first, second):
        assert first.put(f"/courses/{course}", json=open_course(course, course_name="0")).is_success
        with Reader(first, path) as one, Reader(second, path) as two:
            readers, turns = (one, two), cycle(gateways)
            with trouble(production.redis, sort):
                for number in range(1, ROUNDS + 1):
                    put(next(turns), number)
            for number in range(ROUNDS + 1, ROUNDS + 3):
                put(next(turns), number)
        assert one.stale == two.stale == []


@pytest.mark.parametrize("sort", ["frozen", "killed"])
def test_requests_are_taken_without_redis_and_answered_when_it_is_back(production, sort):
    course = f"course-v1:Uni+Away+{sort}"
    with production.clients() as gateways:
        made = gateways[0].put(f"/courses/{course}", json=open_course(course))
        assert made.status_code == 201, made.text
        with trouble(production.redis, sort):
            taken = hand_in(gateways, course)
        answered = [ended(gateways[0], each, production.log) for each in taken]

    assert sum(each["counts"]["enrolled"] for each in answered) == SINGLES + ROWS
    assert row_counts(production.database_url, course)[:3] == (SINGLES + ROWS,) * 3


def test_what_a_flushed_redis_forgets_is_done_all_the_same(production):
    course = "course-v1:Uni+Flushed+2026"
    with (
        production.clients() as gateways,
        redis.Redis.from_url(production.redis.url) as queue,
    ):
        made = gateways[0].put(f"/courses/{course}", json=open_course(course))
        assert made.status_code == 201, made.text
        with production.worker.held():
            taken = hand_in(gateways, course)
            wait_until(lambda: queue.exists(f"enroll:{QueueName.INTERACTIVE}"), production.log)
            queue.flushall()
        answered = [ended(gateways[1], each, production.log) for each in taken]

    assert sum(each["counts"]["enrolled"] for each in answered) == SINGLES + ROWS
    assert row_counts(production.database_url, course)[:3] == (SINGLES + ROWS,) * 3


def hand_in(gateways, course):
    """Singles and a file, at both gateways; the ids of the submissions, each with its 202."""
    turns = cycle(gateways)
    taken = [
        next(turns).post(
            "/enrollment",
            json={"user": f"single{number}", "course_details": {"course_id": course}},
            headers=ASYNC,
        )
        for number in range(SINGLES)
    ]
    rows = [{"user": f"row{number}", "course_id": course} for number in range(ROWS)]
    taken.append(next(turns).post("/submissions", json={"enrollments": rows}))
    assert [answer.status_code for answer in taken] == [202] * len(taken)
    return [answer.json()["submission_id"] for answer in taken]
