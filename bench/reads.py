"""Measures the most frequent reads per second, each beside a bare endpoint of equal length."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import httpx

from bench.load import Load, LoadResult, run_load
from bench.process_stats import cpu_seconds
from bench.samples import course_ids, courses, long_file
from bench.stack import BASE, COURSE, Servers, Service, Serving, Size, server, service
from bench.table import Figure, rate
from tests.support.temporary_folders import working_folder

#: Seconds within which a worker must process the first batches of a file.
START_TIMEOUT_SECONDS = 60.0
#: Rows of the submission that is polled: enough for some to be left when the worker is stopped.
ROWS, QUICK_ROWS = 100_000, 50_000


#: Learners that are read in turn, and the courses of each.
LEARNERS, EACH = 10_000, 4
#: Most milliseconds of 99 of 100 reads while a file is processed.
BESIDE_AT_MOST_MS = 100.0


class Read(NamedTuple):
    """A URL to read, with its headers and its limit in percent of the bare endpoint.

    The path may have one `%010d`, the number of a learner.
    """

    name: str
    path: str
    headers: Mapping[str, str]
    at_least: float | None = None


class ServerLoad(NamedTuple):
    """The result of a load, and the CPU time per request of the server in µs."""

    result: LoadResult
    cpu: float


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures one gateway while a file is processed, and with one that stays half done."""
    with servers.database() as url, service(servers, url, workers=1) as made:
        made.load_courses(courses())
        made.until_ended(made.submit(_learners_file()))
        learners = [
            Read("one of 10,000 learners", _of_learner(course_ids()[0]), made.headers, at_least=35),
            Read("a list of 4", f"{BASE}/enrollment?user=u%010d", made.headers, at_least=20),
        ]
        figures = [_beside_file(made, read, size) for read in learners]
        job = _half_done_submission(made, QUICK_ROWS if size.is_quick else ROWS)
        reads = [
            Read("course details", f"{BASE}/course/{COURSE}", {}, at_least=75.0),
            Read("status of a job", f"{BASE}/submissions/{job}", made.headers, at_least=50.0),
            Read("one enrollment", f"{BASE}/enrollment/first,{COURSE}", made.headers),
            *learners,
        ]
        return figures + [figure for read in reads for figure in _side_by_side(made, read, size)]


def _of_learner(course_id: str) -> str:
    return f"{BASE}/enrollment/u%010d,{course_id}"


def _learners_file() -> bytes:
    rows = [f"u{n:010d},{course_id}" for n in range(LEARNERS) for course_id in course_ids()[:EACH]]
    return "\n".join(["user,course_id", *rows]).encode()


def _beside_file(made: Service, read: Read, size: Size) -> Figure:
    """Measures latency while one worker commits the batches of a file."""
    job = made.submit(b"".join(long_file(size.rows)))
    result = run_load(_load(made.port, read, size))
    if made.http.get(f"/submissions/{job}").raise_for_status().json()["state"] == "done":
        raise RuntimeError("the file was done before the reads ended")
    made.http.post(f"/submissions/{job}/cancel").raise_for_status()
    made.until_ended(job)
    return Figure(
        f"reads: {read.name}, while a file is processed, p99",
        "ms",
        [result.p99],
        at_most=BESIDE_AT_MOST_MS,
        ours=f"p50 {rate([result.p50], 'ms')}, {rate([result.per_second], '/s')}",
    )


def _half_done_submission(made: Service, rows: int) -> str:
    """Returns a submission that stays `running`, since its worker is killed."""
    job = made.submit(b"".join(long_file(rows)))
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while _completed(made, job) == 0:
        if time.monotonic() > deadline:
            raise RuntimeError("no worker processes the file")
    for pid in made.worker_pids:
        os.killpg(pid, signal.SIGKILL)
    completed = _completed(made, job)
    if not 0 < completed < rows:
        raise RuntimeError(
            f"{completed} of {rows} rows are completed: the submission is not half done"
        )
    return job


def _completed(made: Service, job: str) -> int:
    counts: dict[str, int] = _body(made, f"{BASE}/submissions/{job}").json()["counts"]
    return counts["total"] - counts["pending"]


def _body(made: Service, path: str) -> httpx.Response:
    answer = made.http.get(made.http.base_url.copy_with(raw_path=path.encode()))
    return answer.raise_for_status()


def _side_by_side(made: Service, read: Read, size: Size) -> list[Figure]:
    """Measures both sides alternately, so that a busy minute affects both."""
    ours, baseline = [], []
    length = len(_body(made, read.path.replace("%010d", "0" * 10)).content)
    with (
        working_folder() as folder,
        _bare(read.path, length, folder) as (port, process),
    ):
        for _ in range(size.runs):
            ours.append(_server_load(_load(made.port, read, size), made.gateway_pid))
            baseline.append(_server_load(_load(port, read, size), process.pid))
    return _figures(read, length, ours, baseline)


def _bare(path: str, length: int, folder: Path) -> Serving:
    return server("bench.bare_falcon", "--bytes", length, environment={}, path=path, folder=folder)


def _load(port: int, read: Read, size: Size) -> Load:
    return Load(
        port,
        read.path,
        read.headers,
        seconds=size.seconds,
        method="GET",
        cycle=LEARNERS,
        wanted=200,
    )


def _server_load(load: Load, pid: int) -> ServerLoad:
    before = cpu_seconds([pid])
    result = run_load(load)
    return ServerLoad(result, 1e6 * (cpu_seconds([pid]) - before) / result.answered)


def _figures(
    read: Read, length: int, ours: list[ServerLoad], baseline: list[ServerLoad]
) -> list[Figure]:
    here, there = [t.result.per_second for t in ours], [t.result.per_second for t in baseline]
    cpu, bare_cpu = [t.cpu for t in ours], [t.cpu for t in baseline]
    bare_p99 = [t.result.p99 for t in baseline]
    name = f"reads: {read.name}"
    return [
        Figure(
            f"{name}, of bare",
            "%",
            [100 * a / b for a, b in zip(here, there, strict=True)],
            at_least=read.at_least,
            ours=f"{rate(here, '/s')}, {length} bytes",
            baseline=rate(there, "/s"),
        ),
        Figure(f"{name}: server CPU", "µs", cpu, baseline=rate(bare_cpu, "µs")),
        Figure(f"{name}: p99", "ms", [t.result.p99 for t in ours], baseline=rate(bare_p99, "ms")),
    ]
