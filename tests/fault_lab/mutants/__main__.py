"""Prints after how many schedules each mutant is found: ``python -m tests.fault_lab.mutants``."""

import argparse
import sys
from collections.abc import Sequence

from tests.fault_lab.mutants import DELIVERY_MUTANTS, MUTANTS, SEEDS, find

FOUND, MISSED = "found after", "NOT FOUND in"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; returns 1 if a mutant was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault_lab.mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    names = [*MUTANTS, *DELIVERY_MUTANTS]
    parser.add_argument("--only", choices=sorted(names), metavar="MUTANT")
    given = parser.parse_args(arguments)
    missed = 0
    for name in [given.only] if given.only else names:
        found = find(name, seeds=given.seeds)
        missed += found.report is None
        verdict = MISSED if found.report is None else FOUND
        fault = "" if found.report is None else found.report.faults[-1]
        print(f"{name:42} {verdict} {found.after:3} schedules  {fault[:110]}", flush=True)
    print(f"{len(names) if not given.only else 1} mutants, {missed} not found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
