"""Prints reports of the matrix as Markdown: ``python -m tests.fault_lab.summary FILE.json…``."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

HEAD = (
    "fault",
    "what is done",
    "records",
    "runs",
    "struck",
    "witnessed",
    "accepted",
    "202 p99, ms",
    "back, s",
    "violations",
)


def main(paths: Sequence[str]) -> None:
    """Prints the table and the list of faults that did not run."""
    rows = [row for path in paths for row in json.loads(Path(path).read_text())["rows"]]
    here = [row for row in rows if row["result"] != "not here"]
    print(_line(HEAD))
    print(_line(["---"] * len(HEAD)))
    for about, runs in _grouped(here):
        print(_line(_cells(*about, list(runs))))
    print()
    for row in rows:
        if row["result"] == "not here":
            why = ", ".join([row["title"], *row["doubts"]])
            print(f"- Not here: {row['fault']} {row['database']}: {why}")
    bad = [row for row in here if row["result"] != "ok"]
    accepted = sum(row["accepted"] for row in here)
    print(f"\n{accepted:,} requests accepted in {len(here)} runs; {len(bad)} runs not good.")


def _grouped(rows: Iterable[Mapping[str, Any]]) -> Any:
    about = itemgetter("fault", "title", "database")
    return groupby(sorted(rows, key=lambda row: (_order(row["fault"]), *about(row))), about)


def _order(fault: str) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, fault))
    return (int(digits) if digits and fault[0] == "F" else 99, fault)


def _cells(fault: str, title: str, database: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        fault,
        title,
        "PostgreSQL" if database == "postgresql" else "SQLite",
        str(len(runs)),
        str(sum(run["injections"] for run in runs)),
        str(sum(run["witnessed"] for run in runs)),
        f"{sum(run['accepted'] for run in runs):,}",
        _most(run["p99"] and run["p99"] * 1000 for run in runs),
        _most(run["recovery"] for run in runs),
        str(sum(len(run["violations"]) for run in runs)),
    ]


def _most(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known):,.0f}" if known else ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(sys.argv[1:])
