"""Singles that are durably accepted, a second, beside the framework's bare endpoint."""

import json

from bench.load import Heard, Load, applied
from bench.stack import BASE, COURSE, Ground, Service, Size, server, service
from bench.table import Figure, rate
from tests.support.folders import working_folder

PATH = f"{BASE}/enrollment"
#: Numbers that one load may use up.
MANY = 10_000_000
AT_LEAST_PERCENT = 30.0


def _body() -> str:
    body = {"user": "u%010d", "mode": "audit", "course_details": {"course_id": COURSE}}
    return json.dumps(body)


def _load(port: int, key: str, size: Size, run: int) -> Load:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    return Load(port, PATH, headers, _body(), first=run * MANY, seconds=size.seconds)


def _answer_bytes(ours: Service) -> int:
    """How long our answer is, which depends on no request."""
    body = {"user": "sample", "course_details": {"course_id": COURSE}}
    return len(ours.http.post("/enrollment", json=body).raise_for_status().content)


def measure(ground: Ground, size: Size) -> list[Figure]:
    """Without work going on, alternating with the bare endpoint; then with a worker at work."""
    ours, theirs = _side_by_side(ground, size)
    busy = _with_a_worker(ground, size)
    here, there = [h.per_second for h in ours], [h.per_second for h in theirs]
    beside = rate(there, "/s")
    return [
        Figure(
            "accept: durable, of bare",
            "%",
            [100 * a / b for a, b in zip(here, there, strict=True)],
            at_least=AT_LEAST_PERCENT,
            ours=rate(here, "/s"),
            theirs=beside,
        ),
        Figure("accept: a second", "/s", here, theirs=beside),
        _latency("accept: p50", [h.p50 for h in ours], [h.p50 for h in theirs]),
        _latency("accept: p99", [h.p99 for h in ours], [h.p99 for h in theirs]),
        Figure("accept: a second, a worker works", "/s", [h.per_second for h in busy]),
        Figure("accept: p99, a worker works", "ms", [h.p99 for h in busy]),
    ]


def _latency(name: str, ours: list[float], theirs: list[float]) -> Figure:
    return Figure(name, "ms", ours, theirs=rate(theirs, "ms"))


def _side_by_side(ground: Ground, size: Size) -> tuple[list[Heard], list[Heard]]:
    ours, theirs = [], []
    with (
        ground.database() as url,
        service(ground, url) as made,
        working_folder() as folder,
        server("bench.bare", "--bytes", _answer_bytes(made), path=PATH, folder=folder) as (
            bare_port,
            _,
        ),
    ):
        for run in range(size.runs):
            ours.append(applied(_load(made.port, made.key, size, run)))
            theirs.append(applied(_load(bare_port, made.key, size, run)))
    return ours, theirs


def _with_a_worker(ground: Ground, size: Size) -> list[Heard]:
    heard = []
    for run in range(min(size.runs, 3)):
        with ground.database() as url, service(ground, url, workers=1) as made:
            heard.append(applied(_load(made.port, made.key, size, run)))
    return heard
