"""Measures the memory of the gateway during a long upload, and of the worker processing it."""

import gzip
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.process_stats import megabytes, with_children
from bench.samples import courses, write_long_file
from bench.stack import Servers, Service, Size, service
from bench.table import Figure
from tests.support.temporary_folders import working_folder

BELOW_MB = 150.0
#: Growth allowed in the second half; keeping a little of every row would add much more.
FLAT_MB = 10.0
PIECE_BYTES = 1 << 16
#: Seconds between two samples of the gateway.
SAMPLE_SECONDS = 0.05


class MemoryUse(NamedTuple):
    """Megabytes of resident memory: idle, at the peak, and sampled in the second half."""

    idle: float
    peak: float
    second_half: Sequence[float]

    @property
    def growth(self) -> float:
        """The maximum of the second half, above its first sample."""
        return max(self.second_half) - self.second_half[0]


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures uploads of one file, plain and compressed, then a worker processing it."""
    with working_folder(on_disk=True) as folder:
        plain, compressed = folder / "long.csv", folder / "long.csv.gz"
        write_long_file(plain, size.rows)
        with plain.open("rb") as source, gzip.open(compressed, "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target)
        return [
            *_gateway(servers, plain, "CSV", size),
            *_gateway(servers, compressed, "gzip", size, **{"Content-Encoding": "gzip"}),
            *_worker(servers, plain, size),
        ]


def _gateway(
    servers: Servers, path: Path, encoding: str, size: Size, **headers: str
) -> list[Figure]:
    with servers.database() as url, service(servers, url) as made:
        pids = [made.gateway_pid]
        idle = megabytes(pids, "VmRSS")
        with _sampled_memory(pids) as samples:
            _send(made, path, **headers)
        memory = MemoryUse(idle, megabytes(pids, "VmHWM"), samples[len(samples) // 2 :])
    note = f"file {path.stat().st_size / 1e6:.0f} MB"
    return _figures(f"memory: gateway, {size.rows:,} rows, {encoding}", memory, note)


def _worker(servers: Servers, path: Path, size: Size) -> list[Figure]:
    with servers.database() as url, service(servers, url, workers=1) as made:
        made.load_courses(courses())
        pids = with_children(made.worker_pids)
        idle = megabytes(pids, "VmRSS")
        samples = list(_by_progress(made, _send(made, path), pids))
        second_half = [megabytes_used for progress, megabytes_used in samples if progress >= 0.5]
        memory = MemoryUse(idle, megabytes(pids, "VmHWM"), second_half)
    return _figures(f"memory: worker, {size.rows:,} rows", memory, f"{len(pids)} processes")


def _figures(name: str, memory: MemoryUse, note: str) -> list[Figure]:
    ours = f"idle {memory.idle:.0f} MB, peak {memory.peak:.0f} MB"
    samples = f"{len(memory.second_half)} samples"
    return [
        Figure(
            name, "MB more", [memory.peak - memory.idle], below=BELOW_MB, ours=ours, baseline=note
        ),
        Figure(f"{name}, second half", "MB more", [memory.growth], below=FLAT_MB, ours=samples),
    ]


@contextmanager
def _sampled_memory(pids: Sequence[int]) -> Iterator[list[float]]:
    """Samples the resident memory of processes during the block; yields the samples."""
    samples: list[float] = []
    is_over = threading.Event()

    def sample() -> None:
        while not is_over.wait(SAMPLE_SECONDS):
            samples.append(megabytes(pids, "VmRSS"))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield samples
    finally:
        is_over.set()
        sampler.join()
        samples.append(megabytes(pids, "VmRSS"))


def _by_progress(
    made: Service, submission_id: str, pids: Sequence[int]
) -> Iterator[tuple[float, float]]:
    """Yields progress and resident memory each time that the submission makes progress."""
    tag = '"none yet"'
    while True:
        headers = {"Prefer": "wait=30", "If-None-Match": tag}
        answer = made.http.get(f"/submissions/{submission_id}", headers=headers)
        if answer.status_code == 304:
            continue
        status = answer.raise_for_status().json()
        tag = answer.headers["ETag"]
        yield status["progress"], megabytes(pids, "VmRSS")
        if status["state"] == "done":
            return


def _send(made: Service, path: Path, **headers: str) -> str:
    with path.open("rb") as file:
        return made.submit(iter(lambda: file.read(PIECE_BYTES), b""), **headers)
