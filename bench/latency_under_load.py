"""Measures the latency of single requests while a long file is processed."""

import json

from bench.load import Load, LoadResult, run_load
from bench.samples import courses, long_file
from bench.stack import BASE, COURSE, Servers, Service, Size, service
from bench.table import Figure, rate

AT_MOST_MS = 1000.0
CONNECTIONS, SINGLES_A_SECOND = 32, 50.0
#: Factor on the duration of the load: a p99 needs many requests.
DURATION_FACTOR = 3
#: A single short file may be done too early.
QUICK_FILES = 2


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures with a new file each time, and one worker process for both lanes."""
    results = [_beside_bulk(servers, size) for _ in range(min(size.runs, 3))]
    return [
        Figure(
            f"busy: a single beside {size.rows:,} rows, p99",
            "ms",
            [one.p99 for one in results],
            at_most=AT_MOST_MS,
            ours=f"p50 {rate([one.p50 for one in results], 'ms')}",
            baseline=f"longest {rate([one.longest for one in results], 'ms')}",
        )
    ]


def _beside_bulk(servers: Servers, size: Size) -> LoadResult:
    with servers.database() as url, service(servers, url, workers=1) as made:
        made.load_courses(courses())
        for _ in range(QUICK_FILES if size.is_quick else 1):
            last = made.submit(long_file(size.rows))
        result = run_load(singles_load(made, size))
        state = made.http.get(f"/submissions/{last}").raise_for_status().json()["state"]
    if state == "done":
        raise RuntimeError("the file was done before the single requests ended")
    return result


def singles_load(made: Service, size: Size) -> Load:
    """Returns a load with a fixed rate: latency counts from the time a request was due."""
    body = {"user": "u%010d", "course_details": {"course_id": COURSE}}
    headers = {"Content-Type": "application/json", "Prefer": "wait=10", **made.headers}
    return Load(
        made.port,
        f"{BASE}/enrollment",
        headers,
        json.dumps(body),
        connections=CONNECTIONS,
        seconds=size.seconds * (1 if size.is_quick else DURATION_FACTOR),
        pace=SINGLES_A_SECOND,
        wanted=200,
    )
