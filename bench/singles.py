"""Singles from accepted to committed: how many a second, and how long one takes alone."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import NamedTuple

from bench.load import Heard, Load, applied
from bench.naive.servers import BODY, PATH, Naive, naive
from bench.progress_query import Count, counting
from bench.stack import BASE, COURSE, Ground, Service, Size, service
from bench.table import Figure, rate

AT_LEAST_TIMES, AT_MOST_TIMES = 8.0, 3.0
#: Asked one after the other.
ALONE, QUICK_ALONE = 200, 50
#: A further load offers so much more than was committed, as long as the one before was kept up
#: with.
MORE, KEPT_UP, TRIES, QUICK_TRIES = 1.4, 0.95, 3, 1
LOOK_SECONDS = 0.25
#: Commits that must be seen before the clock starts.
WARM = 20


class Sustained(NamedTuple):
    """Commits a second while requests came in, and how many were taken in a second."""

    committed: float
    accepted: float


def measure(ground: Ground, size: Size) -> list[Figure]:
    """Under load on fresh records each, then alone beside a task that does nothing."""
    ours, theirs = [], []
    tries = QUICK_TRIES if size.is_quick else TRIES
    for _ in range(min(size.runs, 3)):
        ours.append(_best(partial(_ours, ground, size), tries))
        theirs.append(_best(partial(_theirs, ground, size), tries))
    here, there = [one.committed for one in ours], [one.committed for one in theirs]
    return [
        Figure(
            "singles: committed, of Flask and Celery",
            "x",
            [a / b for a, b in zip(here, there, strict=True)],
            at_least=AT_LEAST_TIMES,
            ours=rate(here, "/s"),
            theirs=rate(there, "/s"),
        ),
        Figure("singles: committed a second", "/s", here, theirs=rate(there, "/s")),
        Figure(
            "singles: accepted meanwhile",
            "/s",
            [one.accepted for one in ours],
            theirs=rate([one.accepted for one in theirs], "/s"),
        ),
        *_alone(ground, size),
    ]


def _best(sustained: Callable[[float | None], Sustained], tries: int) -> Sustained:
    """Asked as fast as it answers, then at paces that leave the worker room; the best of all."""
    best = sustained(None)
    for _ in range(tries):
        pace = MORE * best.committed
        paced = sustained(pace)
        best = max(best, paced)
        if paced.committed < KEPT_UP * pace:
            break
    return best


def _ours(ground: Ground, size: Size, pace: float | None) -> Sustained:
    with (
        ground.database() as url,
        service(ground, url, workers=1) as made,
        counting(url) as events,
    ):
        body = {"user": "u%010d", "mode": "audit", "course_details": {"course_id": COURSE}}
        headers = {"Content-Type": "application/json", **made.headers}
        path = f"{BASE}/enrollment"
        load = Load(made.port, path, headers, json.dumps(body), seconds=size.seconds, pace=pace)
        return _sustained(load, events)


def _theirs(ground: Ground, size: Size, pace: float | None) -> Sustained:
    with naive(ground, workers=1) as other:
        headers = {"Content-Type": "application/json"}
        load = Load(other.port, PATH, headers, BODY, seconds=size.seconds, pace=pace)
        return _sustained(load, other.answered)


def _sustained(load: Load, count: Count) -> Sustained:
    """Only what is committed while requests still come counts, not the backlog's rest."""
    heard: list[Heard] = []
    asking = threading.Thread(target=lambda: heard.append(applied(load)))
    before = count()
    asking.start()
    seen: list[tuple[float, int]] = []
    while asking.is_alive():
        seen.append((time.perf_counter(), count()))
        asking.join(LOOK_SECONDS)
    warm = [(at, number) for at, number in seen if number >= before + WARM]
    if not heard or len(warm) < 2:
        raise RuntimeError(f"too few commits to measure: {seen[-1:]}, {heard}")
    (begin, first), (end, last) = warm[0], warm[-1]
    return Sustained((last - first) / (end - begin), heard[0].per_second)


def _alone(ground: Ground, size: Size) -> list[Figure]:
    number = QUICK_ALONE if size.is_quick else ALONE
    ours, theirs = [], []
    with (
        ground.database() as url,
        service(ground, url, workers=1) as made,
        naive(ground, workers=1) as other,
    ):
        for run in range(size.runs):
            ours.append(waited_for(made, number, run))
            theirs.append(_no_ops(other, number))
    here, there = [median(one) for one in ours], [median(one) for one in theirs]
    return [
        Figure(
            "singles: alone, p50 of a Celery no-op",
            "x",
            [a / b for a, b in zip(here, there, strict=True)],
            at_most=AT_MOST_TIMES,
            ours=rate(here, "ms"),
            theirs=rate(there, "ms"),
        ),
        Figure("singles: alone, p50", "ms", here, theirs=rate(there, "ms")),
        Figure(
            "singles: alone, p99",
            "ms",
            [_p99(one) for one in ours],
            theirs=rate([_p99(one) for one in theirs], "ms"),
        ),
    ]


def waited_for(made: Service, number: int, run: int) -> list[float]:
    """Milliseconds from asking to the outcome, which is told once it is committed."""
    connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=60)
    headers = {**made.headers, "Content-Type": "application/json", "Prefer": "wait=10"}
    taken = []
    for one in range(number):
        body = {"user": f"alone{run}-{one}", "course_details": {"course_id": COURSE}}
        begin = time.perf_counter()
        connection.request("POST", f"{BASE}/enrollment", json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        taken.append(1000 * (time.perf_counter() - begin))
        if answer.status != http.client.OK:
            raise RuntimeError(f"a single was answered {answer.status}")
    connection.close()
    return taken


def _no_ops(other: Naive, number: int) -> list[float]:
    """Milliseconds from sending a task that does nothing to having its result."""
    taken = []
    for _ in range(number):
        begin = time.perf_counter()
        other.nothing.delay().get(timeout=60)
        taken.append(1000 * (time.perf_counter() - begin))
    return taken


def _p99(taken: list[float]) -> float:
    return sorted(taken)[int(len(taken) * 0.99)]
