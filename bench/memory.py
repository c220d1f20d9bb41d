"""What a long upload does to the memory of the gateway, and its work to that of the worker."""

import gzip
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.process_stats import megabytes, with_children
from bench.samples import courses, write_long_file
from bench.stack import Ground, Service, Size, service
from bench.table import Figure
from tests.support.temporary_folders import working_folder

BELOW_MB = 150.0
#: What the second half may add: somebody who keeps a little of every row adds much more.
FLAT_MB = 10.0
PIECE_BYTES = 1 << 16
#: Seconds between two looks at a process whose progress nobody tells.
LOOK_SECONDS = 0.05


class Held(NamedTuple):
    """Megabytes that processes held: idle, at the most, and in the second half of the work."""

    idle: float
    peak: float
    second_half: Sequence[float]

    @property
    def growth(self) -> float:
        """How much more was held in the second half than in the middle."""
        return max(self.second_half) - self.second_half[0]


def measure(ground: Ground, size: Size) -> list[Figure]:
    """The same file plain and packed; a worker then works it off."""
    with working_folder(on_disk=True) as folder:
        plain, packed = folder / "long.csv", folder / "long.csv.gz"
        write_long_file(plain, size.rows)
        with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target)
        return [
            *_gateway(ground, plain, "CSV", size),
            *_gateway(ground, packed, "gzip", size, **{"Content-Encoding": "gzip"}),
            *_worker(ground, plain, size),
        ]


def _gateway(ground: Ground, path: Path, what: str, size: Size, **headers: str) -> list[Figure]:
    with ground.database() as url, service(ground, url) as made:
        pids = [made.gateway_pid]
        idle = megabytes(pids, "VmRSS")
        with _watched(pids) as during:
            _send(made, path, **headers)
        held = Held(idle, megabytes(pids, "VmHWM"), during[len(during) // 2 :])
    note = f"file {path.stat().st_size / 1e6:.0f} MB"
    return _figures(f"memory: gateway, {size.rows:,} rows, {what}", held, note)


def _worker(ground: Ground, path: Path, size: Size) -> list[Figure]:
    with ground.database() as url, service(ground, url, workers=1) as made:
        made.load_courses(courses())
        pids = with_children(made.worker_pids)
        idle = megabytes(pids, "VmRSS")
        looks = list(_by_progress(made, _send(made, path), pids))
        second_half = [held for progress, held in looks if progress >= 0.5]
        held = Held(idle, megabytes(pids, "VmHWM"), second_half)
    return _figures(f"memory: worker, {size.rows:,} rows", held, f"{len(pids)} processes")


def _figures(name: str, held: Held, note: str) -> list[Figure]:
    ours = f"idle {held.idle:.0f} MB, peak {held.peak:.0f} MB"
    looks = f"{len(held.second_half)} looks"
    return [
        Figure(name, "MB more", [held.peak - held.idle], below=BELOW_MB, ours=ours, theirs=note),
        Figure(f"{name}, second half", "MB more", [held.growth], below=FLAT_MB, ours=looks),
    ]


@contextmanager
def _watched(pids: Sequence[int]) -> Iterator[list[float]]:
    """What processes hold, looked at all the time that the block takes."""
    during: list[float] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(LOOK_SECONDS):
            during.append(megabytes(pids, "VmRSS"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield during
    finally:
        is_over.set()
        watcher.join()
        during.append(megabytes(pids, "VmRSS"))


def _by_progress(
    made: Service, submission_id: str, pids: Sequence[int]
) -> Iterator[tuple[float, float]]:
    """Each time that a job moved: what part of it is answered, and what processes hold then."""
    tag = '"none yet"'
    while True:
        headers = {"Prefer": "wait=30", "If-None-Match": tag}
        answer = made.http.get(f"/submissions/{submission_id}", headers=headers)
        if answer.status_code == 304:
            continue
        shown = answer.raise_for_status().json()
        tag = answer.headers["ETag"]
        yield shown["progress"], megabytes(pids, "VmRSS")
        if shown["state"] == "done":
            return


def _send(made: Service, path: Path, **headers: str) -> str:
    with path.open("rb") as file:
        return made.submit(iter(lambda: file.read(PIECE_BYTES), b""), **headers)
