"""What a long upload does to the memory of the gateway, and its work to that of the worker."""

import gzip
import shutil
from pathlib import Path

from bench.proc import megabytes, with_children
from bench.samples import courses, write_long_file
from bench.stack import Ground, Service, Size, service
from bench.table import Figure
from tests.support.folders import working_folder

BELOW_MB = 150.0
PIECE_BYTES = 1 << 16


def measure(ground: Ground, size: Size) -> list[Figure]:
    """The same file plain and packed; in a full run a worker then works it off."""
    with working_folder(on_disk=True) as folder:
        plain, packed = folder / "long.csv", folder / "long.csv.gz"
        write_long_file(plain, size.rows)
        with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target)
        figures = [
            _gateway(ground, plain, "CSV", size),
            _gateway(ground, packed, "gzip", size, **{"Content-Encoding": "gzip"}),
        ]
        if not size.is_quick:
            figures.append(_worker(ground, plain, size))
    return figures


def _gateway(ground: Ground, path: Path, what: str, size: Size, **headers: str) -> Figure:
    with ground.database() as url, service(ground, url) as made:
        idle = megabytes([made.gateway_pid], "VmRSS")
        _send(made, path, **headers)
        peak = megabytes([made.gateway_pid], "VmHWM")
    return Figure(
        f"memory: gateway, {size.rows:,} rows, {what}",
        "MB more",
        [peak - idle],
        below=BELOW_MB,
        ours=f"idle {idle:.0f} MB, peak {peak:.0f} MB",
        theirs=f"file {path.stat().st_size / 1e6:.0f} MB",
    )


def _worker(ground: Ground, path: Path, size: Size) -> Figure:
    with ground.database() as url, service(ground, url, workers=1) as made:
        made.load_courses(courses())
        pids = with_children(made.worker_pids)
        idle = megabytes(pids, "VmRSS")
        done = made.until_done(_send(made, path))
        peak = megabytes(pids, "VmHWM")
    return Figure(
        f"memory: worker, {size.rows:,} rows",
        "MB more",
        [peak - idle],
        ours=f"idle {idle:.0f} MB, peak {peak:.0f} MB (2 processes)",
        theirs=f"{done['rows_per_second']:,.0f} rows/s",
    )


def _send(made: Service, path: Path, **headers: str) -> str:
    with path.open("rb") as file:
        return made.submit(iter(lambda: file.read(PIECE_BYTES), b""), **headers)
