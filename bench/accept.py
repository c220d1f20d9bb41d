"""Singles that are durably accepted, a second, beside the bare endpoint and Flask with Celery."""

import json
from pathlib import Path
from typing import NamedTuple

from bench.load import Heard, Load, applied
from bench.naive.servers import BODY, Naive, naive
from bench.naive.servers import PATH as NAIVE_PATH
from bench.process_stats import cpu_seconds, with_children
from bench.stack import BASE, COURSE, Ground, Service, Serving, Size, server, service
from bench.table import Figure, rate
from tests.support.temporary_folders import working_folder

PATH = f"{BASE}/enrollment"
#: Numbers that one load may use up.
MANY = 10_000_000
AT_LEAST_PERCENT, AT_LEAST_TIMES = 30.0, 5.0
NAIVE_WARM_UP = 3.0


def _body() -> str:
    body = {"user": "u%010d", "mode": "audit", "course_details": {"course_id": COURSE}}
    return json.dumps(body)


def _load(port: int, key: str, size: Size, run: int) -> Load:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    return Load(port, PATH, headers, _body(), first=run * MANY, seconds=size.seconds)


def _naive_load(other: Naive, size: Size, run: int) -> Load:
    """Its threads connect to Redis with their first requests, so it is given longer to warm up."""
    headers = {"Content-Type": "application/json"}
    return Load(
        other.port,
        NAIVE_PATH,
        headers,
        BODY,
        first=run * MANY,
        warm_up=NAIVE_WARM_UP,
        seconds=size.seconds,
    )


def _answer_bytes(ours: Service) -> int:
    """How long our answer is, which depends on no request."""
    body = {"user": "sample", "course_details": {"course_id": COURSE}}
    return len(ours.http.post("/enrollment", json=body).raise_for_status().content)


class Taken(NamedTuple):
    """What a load heard, and the processor time that the server spent on a request (in µs)."""

    heard: Heard
    cpu: float


class Sides(NamedTuple):
    """What was taken by ours, the bare endpoint, and Flask with Celery, a run after the other."""

    ours: list[Taken]
    bare: list[Taken]
    naive: list[Taken]


def measure(ground: Ground, size: Size) -> list[Figure]:
    """Without work going on, alternating with the baselines; then with a worker at work."""
    sides = _side_by_side(ground, size)
    busy = _with_a_worker(ground, size)
    return [
        *_beside_bare(sides.ours, sides.bare),
        *_beside_naive(sides.ours, sides.naive),
        Figure("accept: a second, a worker works", "/s", [t.heard.per_second for t in busy]),
        Figure("accept: p99, a worker works", "ms", [t.heard.p99 for t in busy]),
    ]


def _beside_bare(ours: list[Taken], theirs: list[Taken]) -> list[Figure]:
    here, there = [t.heard.per_second for t in ours], [t.heard.per_second for t in theirs]
    return [
        Figure(
            "accept: durable, of bare",
            "%",
            [100 * a / b for a, b in zip(here, there, strict=True)],
            at_least=AT_LEAST_PERCENT,
            ours=rate(here, "/s"),
            theirs=rate(there, "/s"),
        ),
        _beside("accept: a second", "/s", here, there),
        _beside("accept: server CPU", "µs", [t.cpu for t in ours], [t.cpu for t in theirs]),
        _beside("accept: p50", "ms", [t.heard.p50 for t in ours], [t.heard.p50 for t in theirs]),
        _beside("accept: p99", "ms", [t.heard.p99 for t in ours], [t.heard.p99 for t in theirs]),
    ]


def _beside_naive(ours: list[Taken], theirs: list[Taken]) -> list[Figure]:
    here, there = [t.heard.per_second for t in ours], [t.heard.per_second for t in theirs]
    cpu = rate([t.cpu for t in theirs], "µs")
    return [
        Figure(
            "accept: durable, of Flask and Celery",
            "x",
            [a / b for a, b in zip(here, there, strict=True)],
            at_least=AT_LEAST_TIMES,
            ours=rate(here, "/s"),
            theirs=f"{rate(there, '/s')}, {cpu} CPU",
        )
    ]


def _beside(name: str, unit: str, ours: list[float], theirs: list[float]) -> Figure:
    return Figure(name, unit, ours, theirs=rate(theirs, unit))


def _taken(load: Load, pid: int) -> Taken:
    pids = with_children([pid])
    before = cpu_seconds(pids)
    heard = applied(load)
    return Taken(heard, 1e6 * (cpu_seconds(pids) - before) / heard.answered)


def _side_by_side(ground: Ground, size: Size) -> Sides:
    sides = Sides([], [], [])
    with (
        ground.database() as url,
        service(ground, url) as made,
        working_folder() as folder,
        _bare(_answer_bytes(made), folder) as (bare_port, bare),
        naive(ground) as other,
    ):
        for run in range(size.runs):
            sides.ours.append(_taken(_load(made.port, made.key, size, run), made.gateway_pid))
            sides.bare.append(_taken(_load(bare_port, made.key, size, run), bare.pid))
            sides.naive.append(_taken(_naive_load(other, size, run), other.web_pid))
    return sides


def _bare(answer: int, folder: Path) -> Serving:
    return server("bench.bare_falcon", "--bytes", answer, environment={}, path=PATH, folder=folder)


def _with_a_worker(ground: Ground, size: Size) -> list[Taken]:
    taken = []
    for run in range(min(size.runs, 3)):
        with ground.database() as url, service(ground, url, workers=1) as made:
            taken.append(_taken(_load(made.port, made.key, size, run), made.gateway_pid))
    return taken
