"""Measures how long many dry runs take: four workers against one.

Each worker reads back the outcomes before a batch, so more workers must not cost more than they do.
"""

import time

from bench.stack import COURSE, Servers, Size, service
from bench.table import Figure, rate

FILES, ROWS = 24, 5_000
WORKERS, AT_MOST_TIMES = 4, 1.0


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures both on an empty database each time, alternating."""
    one, many = [], []
    for _ in range(min(size.runs, 3)):
        one.append(_seconds(servers, workers=1))
        many.append(_seconds(servers, workers=WORKERS))
    return [
        Figure(
            f"{FILES} dry runs of {ROWS:,} rows: time of {WORKERS} workers, of one",
            "x",
            [b / a for a, b in zip(one, many, strict=True)],
            at_most=AT_MOST_TIMES,
            ours=rate(many, "s"),
            baseline=rate(one, "s"),
        )
    ]


def _seconds(servers: Servers, *, workers: int) -> float:
    """Returns the seconds from the first upload until the last dry run is done."""
    with servers.database() as url, service(servers, url, workers=workers) as made:
        contents = [_file(number) for number in range(FILES)]
        start = time.perf_counter()
        submitted = [made.submit(content, query="?dry_run=true") for content in contents]
        for submission_id in submitted:
            counts = made.until_ended(submission_id)["counts"]
            if counts["enrolled"] != ROWS:
                raise RuntimeError(f"the outcomes are wrong: {counts}")
        return time.perf_counter() - start


def _file(number: int) -> bytes:
    lines = (f"learner{number}-{row},{COURSE}" for row in range(ROWS))
    return "\n".join(["user,course_id", *lines, ""]).encode()
