"""Runs simulated schedules: ``python -m tests.fault_lab.simulator --seeds 2000``."""

import argparse
import sys
import time
from collections.abc import Iterable, Sequence

from tests.fault_lab.deliveries.simulation import delivery_player
from tests.fault_lab.simulator.schedule import Player, Report, player

#: Violations and trace lines that are printed of a schedule without `--verbose`.
SHOWN = 5
LINES = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the schedules; returns 1 if one violated an invariant."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fault_lab.simulator", description=__doc__
    )
    parser.add_argument("--seeds", type=int, default=1_000, help="how many schedules")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this schedule only")
    parser.add_argument("--verbose", action="store_true", help="show the whole schedule")
    parser.add_argument(
        "--deliveries", action="store_true", help="schedules of relay, consumer and replies"
    )
    given = parser.parse_args(arguments)
    seeds = range(given.first, given.first + given.seeds)
    with (delivery_player if given.deliveries else player)() as play:
        return run(play, seeds if given.seed is None else [given.seed], verbose=given.verbose)


def run(play: Player, seeds: Iterable[int], *, verbose: bool) -> int:
    """Runs the schedules of the seeds and prints a summary."""
    began = time.perf_counter()
    played = broken = accepted = 0
    for seed in seeds:
        report = play(seed)
        played, accepted = played + 1, accepted + report.accepted
        broken += bool(report.faults)
        if report.faults or verbose:
            show(report, verbose=verbose)
    seconds = time.perf_counter() - began
    pace = played / seconds * 60
    print(
        f"{played} schedules, {accepted} requests accepted, {broken} schedules broke a promise;"
        f" {seconds:.1f} s, {pace:.0f} schedules a minute"
    )
    return 1 if broken else 0


def show(report: Report, *, verbose: bool) -> None:
    """Prints the violations of one schedule and the end of its trace."""
    print(f"--- seed {report.seed}: {len(report.faults)} faults")
    for fault in report.faults[: None if verbose else SHOWN]:
        print(f"  {fault}")
    left_out = 0 if verbose else max(0, len(report.trace) - LINES)
    if left_out:
        print(f"  ({left_out} lines before; all with --seed {report.seed} --verbose)")
    for line in report.trace[left_out:]:
        print(f"  {line}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
