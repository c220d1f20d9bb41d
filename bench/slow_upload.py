"""Measures the latency of single requests while a slow client uploads a file."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from bench.load import Load, LoadResult, run_load
from bench.samples import courses, long_file
from bench.stack import BASE, COURSE, Servers, Service, Size, service
from bench.table import Figure, rate

BYTES_A_SECOND = 100_000
CONNECTIONS, SINGLES_A_SECOND = 8, 50.0
BELOW_MS = 200.0
PIECE_BYTES = 10_000
#: Distance between the first request numbers of two loads, so that none is used twice.
NUMBERS_PER_LOAD = 10_000_000


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures on both databases, with and without the upload, with one worker."""
    figures = []
    places: list[tuple[str, Callable[[], AbstractContextManager[str]]]] = [
        ("SQLite", servers.sqlite),
        ("PostgreSQL", servers.database),
    ]
    for name, database in places:
        alone, beside = [], []
        with database() as url, service(servers, url, workers=1) as made:
            made.load_courses(courses())
            for run in range(min(size.runs, 2)):
                alone.append(_singles(made, size, 2 * run))
                beside.append(_beside_an_upload(made, size, 2 * run + 1))
        figures += [_figure(name, "alone", alone), _figure(name, "with a slow upload", beside)]
    return figures


def _figure(database: str, how: str, results: list[LoadResult]) -> Figure:
    return Figure(
        f"singles on {database}, {how}: p99",
        "ms",
        [one.p99 for one in results],
        below=BELOW_MS,
        ours=f"p50 {rate([one.p50 for one in results], 'ms')}",
        baseline=f"longest {rate([one.longest for one in results], 'ms')}",
    )


def _singles(made: Service, size: Size, run: int) -> LoadResult:
    body = {"user": "u%010d", "course_details": {"course_id": COURSE}}
    headers = {"Content-Type": "application/json", **made.headers}
    return run_load(
        Load(
            made.port,
            f"{BASE}/enrollment",
            headers,
            json.dumps(body),
            first=run * NUMBERS_PER_LOAD,
            connections=CONNECTIONS,
            seconds=2 * size.seconds,
            pace=SINGLES_A_SECOND,
        )
    )


def _beside_an_upload(made: Service, size: Size, run: int) -> LoadResult:
    """Measures during an upload that ends before the load, so that storing it is included."""
    content = _content(int(2 * size.seconds * 0.8 * BYTES_A_SECOND))
    statuses: list[int] = []
    upload = threading.Thread(target=lambda: statuses.append(_upload(made, content)))
    upload.start()
    result = _singles(made, size, run)
    upload.join()
    if statuses != [202]:
        raise RuntimeError(f"the upload got status {statuses}")
    return result


def _content(size_bytes: int) -> bytes:
    rows = b"".join(long_file(size_bytes // 40))[:size_bytes]
    return rows[: rows.rindex(b"\n") + 1]


def _upload(made: Service, content: bytes) -> int:
    """Uploads at `BYTES_A_SECOND`; returns the status."""
    connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=60)
    headers = {**made.headers, "Content-Type": "text/csv", "Content-Length": str(len(content))}
    connection.putrequest("POST", f"{BASE}/submissions")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    begin = time.monotonic()
    for start in range(0, len(content), PIECE_BYTES):
        connection.send(content[start : start + PIECE_BYTES])
        time.sleep(max(0.0, begin + (start + PIECE_BYTES) / BYTES_A_SECOND - time.monotonic()))
    with connection.getresponse() as answer:
        answer.read()
        return answer.status
