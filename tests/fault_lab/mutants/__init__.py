"""Mutants of the real code, each violating one invariant: they prove that the checks find errors.

``python -m tests.fault_lab.mutants`` prints after how many schedules each is found.
"""

from itertools import count, islice
from typing import NamedTuple

from tests.fault_lab.deliveries.simulation import delivery_player, delivery_rates_of
from tests.fault_lab.mutants import decisions, deliveries, omissions, visibility
from tests.fault_lab.mutants.registry import DELIVERY_MUTANTS, MUTANTS
from tests.fault_lab.simulator.history import LOGGED
from tests.fault_lab.simulator.schedule import Report, player, rates_of

__all__ = [
    "DELIVERY_MUTANTS",
    "MUTANTS",
    "SEEDS",
    "Found",
    "decisions",
    "deliveries",
    "find",
    "omissions",
    "visibility",
]

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

    An error that the service itself logs does not count: the database or a consumer must show it.
    """
    mutant = MUTANTS.get(name) or DELIVERY_MUTANTS[name]
    delivers = name in DELIVERY_MUTANTS
    draw = delivery_rates_of if delivers else rates_of
    fitting = (seed for seed in count() if mutant.needs(draw(seed)))
    with mutant(), (delivery_player if delivers else player)() as play:
        for number, seed in enumerate(islice(fitting, seeds), 1):
            report = play(seed)
            if any(broken in fault for fault in report.faults for broken in BROKEN):
                raise MutantBroken(report.faults)
            if any(not fault.startswith(LOGGED) for fault in report.faults):
                return Found(number, report)
    return Found(seeds, None)
