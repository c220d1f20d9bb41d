"""How long a single takes from asking to its outcome while a long file is worked off."""

import json

from bench.load import Heard, Load, applied
from bench.samples import courses, long_file
from bench.stack import BASE, COURSE, Ground, Service, Size, service
from bench.table import Figure, rate

AT_MOST_MS = 1000.0
CONNECTIONS, SINGLES_A_SECOND = 32, 50.0
#: A longer load than that of other measures: a p99 wants many.
TIMES_LONGER = 3
#: A short file alone may be worked off too early.
QUICK_FILES = 2


def measure(ground: Ground, size: Size) -> list[Figure]:
    """A fresh file each time, and one worker process for both."""
    heard = [_beside_a_bulk(ground, size) for _ in range(min(size.runs, 3))]
    return [
        Figure(
            f"busy: a single beside {size.rows:,} rows, p99",
            "ms",
            [one.p99 for one in heard],
            at_most=AT_MOST_MS,
            ours=f"p50 {rate([one.p50 for one in heard], 'ms')}",
            theirs=f"longest {rate([one.longest for one in heard], 'ms')}",
        )
    ]


def _beside_a_bulk(ground: Ground, size: Size) -> Heard:
    with ground.database() as url, service(ground, url, workers=1) as made:
        made.load_courses(courses())
        for _ in range(QUICK_FILES if size.is_quick else 1):
            last = made.submit(long_file(size.rows))
        heard = applied(_load(made, size))
        state = made.http.get(f"/submissions/{last}").raise_for_status().json()["state"]
    if state == "done":
        raise RuntimeError("the file was worked off before the singles ended")
    return heard


def _load(made: Service, size: Size) -> Load:
    """By pace: latency counts from the moment a request was due, so a stall is paid in full."""
    body = {"user": "u%010d", "course_details": {"course_id": COURSE}}
    headers = {"Content-Type": "application/json", "Prefer": "wait=10", **made.headers}
    return Load(
        made.port,
        f"{BASE}/enrollment",
        headers,
        json.dumps(body),
        connections=CONNECTIONS,
        seconds=size.seconds * (1 if size.is_quick else TIMES_LONGER),
        pace=SINGLES_A_SECOND,
        wanted=200,
    )
