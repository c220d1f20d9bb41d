"""Measures durably accepted single requests per second.

Baselines: a bare Falcon endpoint, and Flask with Celery.
"""

import json
from pathlib import Path
from typing import NamedTuple

from bench.load import Load, LoadResult, run_load
from bench.naive.servers import BODY, NaiveService, naive
from bench.naive.servers import PATH as NAIVE_PATH
from bench.process_stats import cpu_seconds, with_children
from bench.stack import BASE, COURSE, Servers, Service, Serving, Size, server, service
from bench.table import Figure, rate
from tests.support.temporary_folders import working_folder

PATH = f"{BASE}/enrollment"
#: Distance between the first request numbers of two loads, so that none is used twice.
NUMBERS_PER_LOAD = 10_000_000
AT_LEAST_PERCENT, AT_LEAST_TIMES = 30.0, 5.0
NAIVE_WARM_UP = 3.0


def _body() -> str:
    body = {"user": "u%010d", "mode": "audit", "course_details": {"course_id": COURSE}}
    return json.dumps(body)


def _load(port: int, key: str, size: Size, run: int) -> Load:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    return Load(port, PATH, headers, _body(), first=run * NUMBERS_PER_LOAD, seconds=size.seconds)


def _naive_load(other: NaiveService, size: Size, run: int) -> Load:
    """Returns the load for Flask, with a longer warm-up: its threads connect to Redis on demand."""
    headers = {"Content-Type": "application/json"}
    return Load(
        other.port,
        NAIVE_PATH,
        headers,
        BODY,
        first=run * NUMBERS_PER_LOAD,
        warm_up=NAIVE_WARM_UP,
        seconds=size.seconds,
    )


def _response_bytes(ours: Service) -> int:
    """Returns the length of the service's response, which is the same for every request."""
    body = {"user": "sample", "course_details": {"course_id": COURSE}}
    return len(ours.http.post("/enrollment", json=body).raise_for_status().content)


class ServerLoad(NamedTuple):
    """The result of a load, and the CPU time per request of the server in µs."""

    result: LoadResult
    cpu: float


class LoadsBySide(NamedTuple):
    """Loads of the service, the bare endpoint, and Flask with Celery, one per run."""

    ours: list[ServerLoad]
    bare: list[ServerLoad]
    naive: list[ServerLoad]


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures without a worker, alternating with the baselines; then with a worker at work."""
    sides = _side_by_side(servers, size)
    busy = _with_worker(servers, size)
    return [
        *_compared_to_bare(sides.ours, sides.bare),
        *_compared_to_naive(sides.ours, sides.naive),
        Figure("accept: a second, a worker works", "/s", [t.result.per_second for t in busy]),
        Figure("accept: p99, a worker works", "ms", [t.result.p99 for t in busy]),
    ]


def _compared_to_bare(ours: list[ServerLoad], baseline: list[ServerLoad]) -> list[Figure]:
    here, there = [t.result.per_second for t in ours], [t.result.per_second for t in baseline]
    return [
        Figure(
            "accept: durable, of bare",
            "%",
            [100 * a / b for a, b in zip(here, there, strict=True)],
            at_least=AT_LEAST_PERCENT,
            ours=rate(here, "/s"),
            baseline=rate(there, "/s"),
        ),
        _comparison("accept: a second", "/s", here, there),
        _comparison("accept: server CPU", "µs", [t.cpu for t in ours], [t.cpu for t in baseline]),
        _comparison(
            "accept: p50", "ms", [t.result.p50 for t in ours], [t.result.p50 for t in baseline]
        ),
        _comparison(
            "accept: p99", "ms", [t.result.p99 for t in ours], [t.result.p99 for t in baseline]
        ),
    ]


def _compared_to_naive(ours: list[ServerLoad], baseline: list[ServerLoad]) -> list[Figure]:
    here, there = [t.result.per_second for t in ours], [t.result.per_second for t in baseline]
    cpu = rate([t.cpu for t in baseline], "µs")
    return [
        Figure(
            "accept: durable, of Flask and Celery",
            "x",
            [a / b for a, b in zip(here, there, strict=True)],
            at_least=AT_LEAST_TIMES,
            ours=rate(here, "/s"),
            baseline=f"{rate(there, '/s')}, {cpu} CPU",
        )
    ]


def _comparison(name: str, unit: str, ours: list[float], baseline: list[float]) -> Figure:
    return Figure(name, unit, ours, baseline=rate(baseline, unit))


def _server_load(load: Load, pid: int) -> ServerLoad:
    pids = with_children([pid])
    before = cpu_seconds(pids)
    result = run_load(load)
    return ServerLoad(result, 1e6 * (cpu_seconds(pids) - before) / result.answered)


def _side_by_side(servers: Servers, size: Size) -> LoadsBySide:
    sides = LoadsBySide([], [], [])
    with (
        servers.database() as url,
        service(servers, url) as made,
        working_folder() as folder,
        _bare(_response_bytes(made), folder) as (bare_port, bare),
        naive(servers) as other,
    ):
        for run in range(size.runs):
            sides.ours.append(_server_load(_load(made.port, made.key, size, run), made.gateway_pid))
            sides.bare.append(_server_load(_load(bare_port, made.key, size, run), bare.pid))
            sides.naive.append(_server_load(_naive_load(other, size, run), other.web_pid))
    return sides


def _bare(response_bytes: int, folder: Path) -> Serving:
    return server(
        "bench.bare_falcon", "--bytes", response_bytes, environment={}, path=PATH, folder=folder
    )


def _with_worker(servers: Servers, size: Size) -> list[ServerLoad]:
    loads = []
    for run in range(min(size.runs, 3)):
        with servers.database() as url, service(servers, url, workers=1) as made:
            loads.append(_server_load(_load(made.port, made.key, size, run), made.gateway_pid))
    return loads
