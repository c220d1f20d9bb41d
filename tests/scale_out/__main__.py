"""Cuts hosts off while a whole term is processed: ``python -m tests.scale_out``, as root.

Prints Markdown. The exit status is 1 if anything was lost, doubled, or other than expected.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.scale_out.deployment import DELAY_MS, LOSS_PERCENT, deployed
from tests.scale_out.network import Traffic, missing
from tests.scale_out.run import VICTIMS, Result, Round, Run
from tests.scale_out.term import Term, term_in_files
from tests.support.binaries import ServerMissing

FILES = 66
_HEAD = (
    "cut off",
    "transactions left open",
    "ended by the database, s",
    "files struck",
    "all processed, s",
    "singles accepted meanwhile",
    "healed, s",
    "repeated by callers",
    "gateway back, s",
    "worker back, s",
)


def main(words: list[str]) -> int:
    """Runs the rounds; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.scale_out")
    parser.add_argument("--rounds", type=int, default=len(VICTIMS), choices=range(1, 4))
    parser.add_argument("--share", type=int, default=1, help="one in so many enrollments")
    options = parser.parse_args(words)
    if reason := missing():
        sys.exit(reason)
    term = term_in_files(FILES, share=options.share)
    with (
        tempfile.TemporaryDirectory(prefix="enroll-scale-out-") as folder,
        deployed(Path(folder), durable=True) as deployment,
    ):
        result = Run(deployment, term).execute(options.rounds)
        traffic = deployment.network.traffic()
        ((database,),) = deployment.query("SHOW server_version")
    print("\n".join(_report(term, result, traffic, database)))
    return bool(result.problems)


def _report(term: Term, result: Result, traffic: Traffic, database: str) -> Iterator[str]:
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, PostgreSQL {database}"
    load = ", ".join(f"{each:.0f}" for each in os.getloadavg())
    yield f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}, load {load}."
    yield f"{DELAY_MS:g} ms each way, {LOSS_PERCENT:g} % of frames lost.\n"
    yield _line(_HEAD)
    yield _line(["---"] * len(_HEAD))
    yield from (_line(_cells(each)) for each in result.rounds)
    yield f"\n{term.name}: {term.rows:,} rows in {len(term.files)} files, {result.singles:,} singles,"
    yield f"{result.seconds:.0f} s. Outcomes of the files: {_counts(result.outcomes)}."
    yield f"Answers: {_counts(result.served)}. Frames: {_counts(traffic._asdict())}."
    yield "\n".join(result.problems) or "Nothing was lost, doubled, or other than expected."


def _cells(each: Round) -> list[str]:
    return [
        " and ".join(each.victims),
        str(each.held),
        f"{each.freed:.0f}",
        str(each.files),
        f"{each.processed:.0f}",
        f"{each.singles:,}",
        f"{each.healed:.0f}",
        _counts(each.repeated) or "none",
        f"{each.gateway_back:.0f}",
        f"{each.worker_back:.0f}",
    ]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ServerMissing as missing_server:
        sys.exit(str(missing_server))
