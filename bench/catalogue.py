"""Measures a file beside a catalogue that is kept in step: PUTs of courses as they are stored."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import httpx

from bench.stack import Servers, Service, Size, service
from bench.table import Figure, rate

COURSES, ROWS = 2_000, 20_000
#: A PUT takes a quarter of a second, in which the leases on old course details expire.
CONNECTIONS, PUTS_A_SECOND = 16, 30.0
#: Share of the PUTs that must be answered in time for the measure to count.
KEPT_PACE = 0.8
WORKERS, AT_MOST_TIMES = 2, 1.5


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures with and without PUTs, on an empty database each time, alternating."""
    alone, beside, paces = [], [], []
    for _ in range(min(size.runs, 3)):
        alone.append(_seconds(servers, puts_a_second=0.0)[0])
        seconds, pace = _seconds(servers, puts_a_second=PUTS_A_SECOND)
        beside.append(seconds)
        paces.append(pace)
    return [
        Figure(
            f"{ROWS:,} rows over {COURSES:,} courses: beside unchanged PUTs, of alone",
            "x",
            [b / a for a, b in zip(alone, beside, strict=True)],
            at_most=AT_MOST_TIMES,
            ours=f"{rate(beside, 's')}, {rate(paces, 'PUTs/s')}",
            baseline=rate(alone, "s"),
        )
    ]


def _seconds(servers: Servers, *, puts_a_second: float) -> tuple[float, float]:
    """Returns the seconds from the upload until the file is done, and the PUTs per second."""
    with servers.database() as url, service(servers, url, workers=WORKERS) as made:
        made.load_courses(b"\n".join(json.dumps(each).encode() for each in _courses()))
        with _puts(made, puts_a_second) as answered:
            before, start = answered(), time.perf_counter()
            counts = made.until_ended(made.submit(_file()))["counts"]
            seconds = time.perf_counter() - start
            pace = (answered() - before) / seconds
        if counts["enrolled"] != ROWS:
            raise RuntimeError(f"the outcomes are wrong: {counts}")
        if pace < KEPT_PACE * puts_a_second:
            raise RuntimeError(f"only {pace:.0f} PUTs per second were answered")
        return seconds, pace


def _courses() -> list[dict[str, str]]:
    return [{"course_id": f"course-v1:Bench+C{number:04d}+2026"} for number in range(COURSES)]


def _file() -> bytes:
    known = [course["course_id"] for course in _courses()]
    lines = (f"learner{number:06d},{known[number % COURSES]}" for number in range(ROWS))
    return "\n".join(["user,course_id", *lines, ""]).encode()


@contextmanager
def _puts(made: Service, puts_a_second: float) -> Iterator["Answered"]:
    """PUTs every course as it is stored, again and again; yields their count so far."""
    answered, stopped, numbers = Answered(), threading.Event(), count()
    course_ids = [course["course_id"] for course in _courses()]

    def put(connection: int) -> None:
        interval = CONNECTIONS / puts_a_second
        due = time.monotonic() + connection / puts_a_second
        with httpx.Client(base_url=made.http.base_url, headers=made.headers, timeout=30) as http:
            while not stopped.wait(max(0.0, due - time.monotonic())):
                course_id = course_ids[next(numbers) % COURSES]
                http.put(f"/courses/{course_id}", json={}).raise_for_status()
                answered.add()
                due += interval

    threads = [
        threading.Thread(target=put, args=(connection,))
        for connection in range(CONNECTIONS if puts_a_second else 0)
    ]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


class Answered:
    """A count that several threads raise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def add(self) -> None:
        """Raises the count by one."""
        with self._lock:
            self._count += 1

    def __call__(self) -> int:
        return self._count
