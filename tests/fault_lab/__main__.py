"""Runs the fault matrix with real processes: ``python -m tests.fault_lab``.

The exit status is 1 if a run violates an invariant, breaks, or proves nothing.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tests.fault_lab import kill_loop
from tests.fault_lab.deliveries.delivery_run import FULL, SMALL, Scale
from tests.fault_lab.deliveries.plans import EVERYTHING, PLANS, Plan
from tests.fault_lab.destinations import run as destinations
from tests.fault_lab.destinations.samples import OULAD, oulad, small
from tests.fault_lab.destinations.two_instances import FEW, WHOLE, run_on_two_instances
from tests.fault_lab.fault_injectors import BOTH, FAULTS, UNAVAILABLE, Fault
from tests.fault_lab.matrix import Matrix
from tests.fault_lab.report_table import Row, as_json, head, line, totals
from tests.support.binaries import ServerMissing

#: Fraction of each fault's load; with less, some faults leave no evidence.
SHARE = 1.0
SECONDS, SHORT_SECONDS = 6.0, 5.0
#: Fraction of the load for the short set: all of it must be processed and checked as well.
SHORT_SHARE = 0.4
#: Learners of the faults of a destination in the short set.
LEARNERS = 150


def main(words: Sequence[str]) -> int:
    """Runs the selected faults; returns the exit status."""
    options = _parser().parse_args(words)
    only = {code for code in options.only.split(",") if code}
    databases = BOTH if options.database == "both" else (options.database,)
    faults = [fault for fault in FAULTS if not only or fault.code in only]
    seeds = 1 if options.short else options.seeds
    seconds = options.seconds or (SHORT_SECONDS if options.short else SECONDS)
    runs = [
        run
        for run in _plan(faults, databases, seeds)
        if not options.short or run[1] in run[0].short
    ]
    began = time.monotonic()
    folder = Path(options.keep or tempfile.mkdtemp(prefix="enroll-faults-"))
    special = (
        [(sort, 1) for sort in databases]
        if kill_loop.CODE in (only or {kill_loop.CODE}) and not options.short
        else []
    )
    scale = SMALL if options.short else replace(FULL, requests=options.requests)
    plans = [EVERYTHING] if options.short else [*PLANS, EVERYTHING]
    plans = [plan for plan in plans if plan.code in (only or {plan.code})]
    with Matrix(
        folder, seconds=seconds, share=SHORT_SHARE if options.short else options.share
    ) as matrix:
        rows = _all(matrix, runs, special)
        rows += _deliveries(matrix, plans, databases, scale)
    if destinations.CODE in (only or {destinations.CODE}):
        rows.append(_destination(folder, is_short=options.short))
    rows += [
        _not_here(code, UNAVAILABLE[code])
        for code in UNAVAILABLE
        if not options.short and code in (only or {code})
    ]
    took = time.monotonic() - began
    print(totals(rows, took))
    if options.report:
        options.report.write_text(json.dumps(as_json(rows, took), indent=1) + "\n")
    return 0 if all(row.is_good for row in rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fault_lab")
    parser.add_argument("--only", default="", metavar="F1,F8", help="these faults alone")
    parser.add_argument("--database", default="both", choices=[*BOTH, "both"])
    parser.add_argument("--seeds", default=3, type=int, help="runs of each fault")
    parser.add_argument("--seconds", type=float, help="load of each run")
    parser.add_argument(
        "--share", default=SHARE, type=float, help=f"of each fault's load ({SHARE})"
    )
    parser.add_argument(
        "--requests", default=FULL.requests, type=int, help="messages have in F29 to F31"
    )
    parser.add_argument("--short", action="store_true", help="the set that CI runs")
    parser.add_argument("--report", type=Path, metavar="FILE.json")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where failed runs are kept")
    return parser


def _plan(
    faults: Sequence[type[Fault]], databases: Sequence[str], seeds: int
) -> Iterator[tuple[type[Fault], str, int]]:
    """Yields all runs: grouped by database so that stacks are shared, each fault early."""
    for sort in databases:
        for seed in range(1, seeds + 1):
            for fault in faults:
                if sort in fault.where and seed <= fault.most_seeds:
                    yield fault, sort, seed


def _all(
    matrix: Matrix,
    runs: Sequence[tuple[type[Fault], str, int]],
    special: Sequence[tuple[str, int]],
) -> list[Row]:
    """Runs everything; prints each row when it is known."""
    rows = []
    print(head(), flush=True)
    for fault, sort, seed in runs:
        rows.append(matrix.run(fault, sort, seed))
        print(line(rows[-1]), flush=True)
    for sort, seed in special:
        rows.append(matrix.every_second(sort, seed))
        print(line(rows[-1]), flush=True)
    return rows


def _deliveries(
    matrix: Matrix, plans: Sequence[Plan], databases: Sequence[str], scale: Scale
) -> list[Row]:
    """Runs the faults of deliveries once on each database; prints each row when it is known."""
    rows = []
    for plan in plans:
        for sort in databases:
            rows.append(matrix.deliveries(plan, sort, 1, scale))
            print(line(rows[-1]), flush=True)
    return rows


def _destination(folder: Path, *, is_short: bool) -> Row:
    """Runs the faults of a destination on two instances; prints the row, and its figures."""
    if is_short:
        row = run_on_two_instances(folder, "postgresql", small(LEARNERS), FEW)
    elif OULAD.is_dir():
        row = run_on_two_instances(folder, "postgresql", oulad(), WHOLE)
    else:
        return _not_here(destinations.CODE, "the data set is not in ../shared")
    print(line(row), flush=True)
    figures = Path(row.kept) / "figures.json"
    if figures.exists():
        print(figures.read_text(), flush=True)
    return row


def _not_here(fault: str, title: str) -> Row:
    row = Row(fault=fault, title=title, database="", seed=0, result="not here")
    print(line(row), flush=True)
    return row


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ServerMissing as missing:
        sys.exit(str(missing))
