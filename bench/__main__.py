"""Command line `python -m bench`: starts servers, runs the measures, prints and saves figures."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from bench import (
    accept,
    backlog,
    beside,
    bulk,
    catalogue,
    dry_runs,
    enrollment_pages,
    growth,
    latency_under_load,
    lists,
    memory,
    messages,
    privacy,
    profile_stacks,
    reads,
    singles,
    slow_upload,
)
from bench.progress_query import plain
from bench.stack import Servers, Size, prepared_servers
from bench.table import Figure, table_of
from tests.support.binaries import ServerMissing
from tests.support.servers import postgres_server, redis_server

RESULTS = Path(__file__).with_name("results.json")
FULL = Size(runs=5, seconds=5.0, rows=1_000_000, is_quick=False, listed=1_000_000)
QUICK = Size(runs=1, seconds=2.0, rows=100_000, is_quick=True, listed=100_000)
#: Packages whose versions influence the figures.
PACKAGES = ("falcon", "uvicorn", "celery", "sqlalchemy", "psycopg", "flask", "gunicorn")
SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
)

MEASURES: dict[str, Callable[[Servers, Size], list[Figure]]] = {
    "accept": accept.measure,
    "bulk": bulk.measure,
    "singles": singles.measure,
    "lists": lists.measure,
    "backlog": backlog.measure,
    "dry_runs": dry_runs.measure,
    "catalogue": catalogue.measure,
    "busy": latency_under_load.measure,
    "beside": beside.measure,
    "reads": reads.measure,
    "pages": enrollment_pages.measure,
    "privacy": privacy.measure,
    "slow_upload": slow_upload.measure,
    "memory": memory.measure,
    "growth": growth.measure,
    "messages": messages.measure,
    "where": profile_stacks.measure,
}


def main() -> int:
    """Runs the measures; returns exit code 1 if a figure misses its limit."""
    options = _options()
    if sys.platform != "linux":
        sys.exit("cannot measure: /proc and epoll of Linux are needed")
    size = QUICK if options.quick else FULL
    size = size._replace(runs=options.runs or size.runs, listed=options.listed or size.listed)
    console = Console(width=None if sys.stdout.isatty() else 160)
    figures: list[Figure] = []
    with postgres_server(durable=True) as postgres, redis_server(own=True) as redis:
        machine = _machine(postgres)
        console.print(_environment(machine))
        with prepared_servers(postgres, redis) as servers:
            for name in options.only or MEASURES:
                start = time.monotonic()
                console.print(f"measuring {name} …")
                figures += MEASURES[name](servers, size)
                console.print(f"  {time.monotonic() - start:.0f} s")
    results = {
        "machine": machine,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "runs": size.runs,
        "quick": size.is_quick,
        "bars": [figure.as_json() for figure in figures],
    }
    options.results.write_text(json.dumps(results, indent=2) + "\n")
    title = f"{results['date']}, {size.runs} run(s), load before {machine['load_before']}"
    console.print(table_of(figures, title))
    console.print(f"{_environment(machine)}; saved in {options.results}")
    return int(any(figure.holds is False for figure in figures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short run of each measure")
    parser.add_argument("--only", action="append", choices=MEASURES, help="may be repeated")
    parser.add_argument("--runs", type=int, help="runs of each measure")
    parser.add_argument("--listed", type=int, help="submissions that `beside` lists and purges")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="file that the figures are saved in"
    )
    return parser.parse_args()


def _machine(postgres: str) -> dict[str, Any]:
    with psycopg.connect(plain(postgres)) as connection:
        settings = {name: _setting(connection, name) for name in SETTINGS}
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "postgres": settings.pop("server_version"),
        "durable": settings,
        "packages": {name: version(name) for name in PACKAGES},
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }


def _setting(connection: psycopg.Connection, name: str) -> str | None:
    row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    return str(row[0]) if row else None


def _environment(machine: dict[str, Any]) -> str:
    durable = ", ".join(f"{name} {value}" for name, value in machine["durable"].items())
    postgres = f"PostgreSQL {machine['postgres']} ({durable})"
    return (
        f"{machine['cpu']}, {machine['cores']} cores; {postgres}; one gateway, one worker process"
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ServerMissing as missing:
        sys.exit(f"cannot measure: {missing}")
