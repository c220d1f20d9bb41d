"""Mutants of the real code, each violating one invariant: they prove that the checks find errors.

``python -m tests.fault_lab.mutants`` prints after how many schedules each is found.
"""

from itertools import count, islice
from typing import NamedTuple

from tests.fault_lab.mutants import decisions, omissions, visibility
from tests.fault_lab.mutants.registry import MUTANTS
from tests.fault_lab.simulator.environment import Environment
from tests.fault_lab.simulator.history import LOGGED
from tests.fault_lab.simulator.schedule import Report, play, rates_of

__all__ = ["MUTANTS", "SEEDS", "Found", "decisions", "find", "omissions", "visibility"]

#: Schedules after which a mutant counts as not found.
SEEDS = 1_000


#: Errors of a mutant that no longer fits the code that it patches.
BROKEN = ("TypeError", "AttributeError", "NameError", "AssertionError", "it broke")


class MutantBroken(Exception):
    """A mutant fails by itself, so finding it proves nothing about the checks."""


class Found(NamedTuple):
    """The first schedule that finds the mutant, if any."""

    after: int
    report: Report | None


def find(name: str, *, seeds: int = SEEDS) -> Found:
    """Runs schedules against a mutant until one finds it.

    An error that the service itself logs does not count: the database must show it.
    """
    needs = MUTANTS[name].needs
    fitting = (seed for seed in count() if needs(rates_of(seed)))
    with MUTANTS[name](), Environment() as environment:
        for number, seed in enumerate(islice(fitting, seeds), 1):
            report = play(environment, seed)
            if any(broken in fault for fault in report.faults for broken in BROKEN):
                raise MutantBroken(report.faults)
            if any(not fault.startswith(LOGGED) for fault in report.faults):
                return Found(number, report)
    return Found(seeds, None)
