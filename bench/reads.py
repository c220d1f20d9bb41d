"""Reads that are asked for most, a second, each beside a bare endpoint that answers as much."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import httpx

from bench.load import Heard, Load, applied
from bench.process_stats import cpu_seconds
from bench.samples import courses, long_file
from bench.stack import BASE, COURSE, Ground, Service, Serving, Size, server, service
from bench.table import Figure, rate
from tests.support.temporary_folders import working_folder

#: Seconds within which a worker takes the first batches of a file in hand.
RUNS_WITHIN_SECONDS = 60.0
#: Rows of the job that is polled: enough for some to be left when the worker has begun.
ROWS, QUICK_ROWS = 100_000, 50_000


class Read(NamedTuple):
    """An address that is read, with what proves that one may, and what is promised of it."""

    name: str
    path: str
    headers: Mapping[str, str]
    at_least: float | None = None


class Taken(NamedTuple):
    """What a load heard, and the processor time that the server spent on a request (in µs)."""

    heard: Heard
    cpu: float


def measure(ground: Ground, size: Size) -> list[Figure]:
    """One gateway with a job that stays half done, each read beside its bare endpoint."""
    with ground.database() as url, service(ground, url, workers=1) as made:
        job = _stuck_job(made, QUICK_ROWS if size.is_quick else ROWS)
        reads = [
            Read("course details", f"{BASE}/course/{COURSE}", {}, at_least=75.0),
            Read("status of a job", f"{BASE}/submissions/{job}", made.headers, at_least=50.0),
            Read("one enrollment", f"{BASE}/enrollment/first,{COURSE}", made.headers),
        ]
        return [figure for read in reads for figure in _side_by_side(made, read, size)]


def _stuck_job(made: Service, rows: int) -> str:
    """A job that is running and moves no more, since its worker is gone."""
    made.load_courses(courses())
    job = made.submit(b"".join(long_file(rows)))
    deadline = time.monotonic() + RUNS_WITHIN_SECONDS
    while _answered(made, job) == 0:
        if time.monotonic() > deadline:
            raise RuntimeError("no worker takes the file in hand")
    for pid in made.worker_pids:
        os.killpg(pid, signal.SIGKILL)
    answered = _answered(made, job)
    if not 0 < answered < rows:
        raise RuntimeError(f"{answered} of {rows} rows are answered: the job is not half done")
    return job


def _answered(made: Service, job: str) -> int:
    counts: dict[str, int] = _body(made, f"{BASE}/submissions/{job}").json()["counts"]
    return counts["total"] - counts["pending"]


def _body(made: Service, path: str) -> httpx.Response:
    answer = made.http.get(made.http.base_url.copy_with(raw_path=path.encode()))
    return answer.raise_for_status()


def _side_by_side(made: Service, read: Read, size: Size) -> list[Figure]:
    """Both sides in turn, so that a busy minute falls on both."""
    ours, theirs = [], []
    length = len(_body(made, read.path).content)
    with (
        working_folder() as folder,
        _bare(read.path, length, folder) as (port, process),
    ):
        for _ in range(size.runs):
            ours.append(_taken(_load(made.port, read, size), made.gateway_pid))
            theirs.append(_taken(_load(port, read, size), process.pid))
    return _figures(read, length, ours, theirs)


def _bare(path: str, length: int, folder: Path) -> Serving:
    return server("bench.bare_falcon", "--bytes", length, environment={}, path=path, folder=folder)


def _load(port: int, read: Read, size: Size) -> Load:
    return Load(port, read.path, read.headers, seconds=size.seconds, method="GET", wanted=200)


def _taken(load: Load, pid: int) -> Taken:
    before = cpu_seconds([pid])
    heard = applied(load)
    return Taken(heard, 1e6 * (cpu_seconds([pid]) - before) / heard.answered)


def _figures(read: Read, length: int, ours: list[Taken], theirs: list[Taken]) -> list[Figure]:
    here, there = [t.heard.per_second for t in ours], [t.heard.per_second for t in theirs]
    spent, spent_there = [t.cpu for t in ours], [t.cpu for t in theirs]
    late = [t.heard.p99 for t in theirs]
    name = f"reads: {read.name}"
    return [
        Figure(
            f"{name}, of bare",
            "%",
            [100 * a / b for a, b in zip(here, there, strict=True)],
            at_least=read.at_least,
            ours=f"{rate(here, '/s')}, {length} bytes",
            theirs=rate(there, "/s"),
        ),
        Figure(f"{name}: server CPU", "µs", spent, theirs=rate(spent_there, "µs")),
        Figure(f"{name}: p99", "ms", [t.heard.p99 for t in ours], theirs=rate(late, "ms")),
    ]
