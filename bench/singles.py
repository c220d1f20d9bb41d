"""Measures single requests: committed per second, and the latency of one alone."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import NamedTuple

from bench.load import Load, LoadResult, run_load
from bench.naive.servers import BODY, PATH, NaiveService, naive
from bench.progress_query import Count, counting
from bench.stack import BASE, COURSE, Servers, Service, Size, service
from bench.table import Figure, rate

AT_LEAST_TIMES, AT_MOST_TIMES = 8.0, 3.0
#: Requests sent one after the other.
ALONE, QUICK_ALONE = 200, 50
#: Each further load has `RATE_FACTOR` times the committed rate, as long as the service commits at
#: least `SUSTAINED_SHARE` of it.
RATE_FACTOR, SUSTAINED_SHARE, ATTEMPTS, QUICK_ATTEMPTS = 1.4, 0.95, 3, 1
POLL_SECONDS = 0.25
#: Commits before the measurement starts.
WARM_UP_COMMITS = 20


class SustainedRate(NamedTuple):
    """Commits per second while requests arrive, and accepted requests per second."""

    committed: float
    accepted: float


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures under load on empty databases, then alone beside a Celery task that does nothing."""
    ours, baseline = [], []
    attempts = QUICK_ATTEMPTS if size.is_quick else ATTEMPTS
    for _ in range(min(size.runs, 3)):
        ours.append(_best(partial(_service_rate, servers, size), attempts))
        baseline.append(_best(partial(_baseline_rate, servers, size), attempts))
    here, there = [one.committed for one in ours], [one.committed for one in baseline]
    return [
        Figure(
            "singles: committed, of Flask and Celery",
            "x",
            [a / b for a, b in zip(here, there, strict=True)],
            at_least=AT_LEAST_TIMES,
            ours=rate(here, "/s"),
            baseline=rate(there, "/s"),
        ),
        Figure("singles: committed a second", "/s", here, baseline=rate(there, "/s")),
        Figure(
            "singles: accepted meanwhile",
            "/s",
            [one.accepted for one in ours],
            baseline=rate([one.accepted for one in baseline], "/s"),
        ),
        *_alone(servers, size),
    ]


def _best(sustained: Callable[[float | None], SustainedRate], attempts: int) -> SustainedRate:
    """Returns the best rate: first unlimited, then at rates that leave CPU time to the worker."""
    best = sustained(None)
    for _ in range(attempts):
        pace = RATE_FACTOR * best.committed
        paced = sustained(pace)
        best = max(best, paced)
        if paced.committed < SUSTAINED_SHARE * pace:
            break
    return best


def _service_rate(servers: Servers, size: Size, pace: float | None) -> SustainedRate:
    with (
        servers.database() as url,
        service(servers, url, workers=1) as made,
        counting(url) as events,
    ):
        body = {"user": "u%010d", "mode": "audit", "course_details": {"course_id": COURSE}}
        headers = {"Content-Type": "application/json", **made.headers}
        path = f"{BASE}/enrollment"
        load = Load(made.port, path, headers, json.dumps(body), seconds=size.seconds, pace=pace)
        return _sustained(load, events)


def _baseline_rate(servers: Servers, size: Size, pace: float | None) -> SustainedRate:
    with naive(servers, workers=1) as other:
        headers = {"Content-Type": "application/json"}
        load = Load(other.port, PATH, headers, BODY, seconds=size.seconds, pace=pace)
        return _sustained(load, other.processed)


def _sustained(load: Load, count: Count) -> SustainedRate:
    """Counts commits while requests arrive, not those of the backlog after them."""
    results: list[LoadResult] = []
    sender = threading.Thread(target=lambda: results.append(run_load(load)))
    before = count()
    sender.start()
    samples: list[tuple[float, int]] = []
    while sender.is_alive():
        samples.append((time.perf_counter(), count()))
        sender.join(POLL_SECONDS)
    warm = [(at, number) for at, number in samples if number >= before + WARM_UP_COMMITS]
    if not results or len(warm) < 2:
        raise RuntimeError(f"too few commits to measure: {samples[-1:]}, {results}")
    (begin, first), (end, last) = warm[0], warm[-1]
    return SustainedRate((last - first) / (end - begin), results[0].per_second)


def _alone(servers: Servers, size: Size) -> list[Figure]:
    number = QUICK_ALONE if size.is_quick else ALONE
    ours, baseline = [], []
    with (
        servers.database() as url,
        service(servers, url, workers=1) as made,
        naive(servers, workers=1) as other,
    ):
        for run in range(size.runs):
            ours.append(single_latencies(made, number, run))
            baseline.append(_no_op_latencies(other, number))
    here, there = [median(one) for one in ours], [median(one) for one in baseline]
    return [
        Figure(
            "singles: alone, p50 of a Celery no-op",
            "x",
            [a / b for a, b in zip(here, there, strict=True)],
            at_most=AT_MOST_TIMES,
            ours=rate(here, "ms"),
            baseline=rate(there, "ms"),
        ),
        Figure("singles: alone, p50", "ms", here, baseline=rate(there, "ms")),
        Figure(
            "singles: alone, p99",
            "ms",
            [_p99(one) for one in ours],
            baseline=rate([_p99(one) for one in baseline], "ms"),
        ),
    ]


def single_latencies(made: Service, number: int, run: int) -> list[float]:
    """Returns the milliseconds from each request to its response with the committed outcome."""
    connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=60)
    headers = {**made.headers, "Content-Type": "application/json", "Prefer": "wait=10"}
    latencies = []
    for one in range(number):
        body = {"user": f"alone{run}-{one}", "course_details": {"course_id": COURSE}}
        begin = time.perf_counter()
        connection.request("POST", f"{BASE}/enrollment", json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        latencies.append(1000 * (time.perf_counter() - begin))
        if answer.status != http.client.OK:
            raise RuntimeError(f"a single request got status {answer.status}")
    connection.close()
    return latencies


def _no_op_latencies(other: NaiveService, number: int) -> list[float]:
    """Returns the milliseconds from sending each task that does nothing to its result."""
    latencies = []
    for _ in range(number):
        begin = time.perf_counter()
        other.no_op.delay().get(timeout=60)
        latencies.append(1000 * (time.perf_counter() - begin))
    return latencies


def _p99(latencies: list[float]) -> float:
    return sorted(latencies)[int(len(latencies) * 0.99)]
