"""Measures durably accepted lists of three rows per second, of the rate of single requests."""

import json

from bench.load import Load, run_load
from bench.stack import BASE, COURSE, Servers, Service, Size, service
from bench.table import Figure, rate

ROWS, CONNECTIONS = 3, 32
#: Distance between the first request numbers of two loads, so that none is used twice.
NUMBERS_PER_LOAD = 10_000_000
AT_LEAST_PERCENT = 25.0


def _list_body() -> str:
    users = ["u%010d", *(f"row{number}" for number in range(1, ROWS))]
    return json.dumps({"enrollments": [{"user": user, "course_id": COURSE} for user in users]})


def _single_body() -> str:
    return json.dumps({"user": "u%010d", "course_id": COURSE})


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures without a worker; lists and singles alternate."""
    lists, singles = [], []
    with servers.database() as url, service(servers, url) as made:
        for run in range(size.runs):
            lists.append(run_load(_load(made, "submissions", _list_body(), size, run)))
            singles.append(run_load(_load(made, "enrollment", _single_body(), size, run)))
    here, there = [one.per_second for one in lists], [one.per_second for one in singles]
    return [
        Figure(
            f"lists: {ROWS} rows, of the rate of singles",
            "%",
            [100 * a / b for a, b in zip(here, there, strict=True)],
            at_least=AT_LEAST_PERCENT,
            ours=rate(here, "/s"),
            baseline=rate(there, "/s"),
        ),
        Figure("lists: a second", "/s", here, baseline=rate(there, "/s")),
        Figure(
            "lists: p50",
            "ms",
            [one.p50 for one in lists],
            baseline=rate([one.p50 for one in singles], "ms"),
        ),
        Figure(
            "lists: p99",
            "ms",
            [one.p99 for one in lists],
            baseline=rate([one.p99 for one in singles], "ms"),
        ),
    ]


def _load(made: Service, route: str, body: str, size: Size, run: int) -> Load:
    headers = {"Content-Type": "application/json", **made.headers}
    return Load(
        made.port,
        f"{BASE}/{route}",
        headers,
        body,
        first=run * NUMBERS_PER_LOAD,
        connections=CONNECTIONS,
        seconds=size.seconds,
    )
