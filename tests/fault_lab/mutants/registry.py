"""The mutants by their names: each sabotages the real code inside a block."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from tests.fault_lab.simulator.fault_rates import FaultRates

Sabotage = Callable[[], Iterator[None]]


class Mutant(NamedTuple):
    """What is broken, and in which weather it can show."""

    sabotage: Callable[[], AbstractContextManager[None]]
    needs: Callable[[FaultRates], bool]

    def __call__(self) -> AbstractContextManager[None]:
        """The code is broken inside the block."""
        return self.sabotage()


MUTANTS: dict[str, Mutant] = {}


def in_any_weather(_: FaultRates) -> bool:
    """Nothing particular has to go wrong."""
    return True


def while_transactions_overlap(weather: FaultRates) -> bool:
    """Others commit between what a transaction reads and what it writes."""
    return weather.overlapping > 0.0


def while_singles_overtake_files(weather: FaultRates) -> bool:
    """Singles are taken in while a file is, in the same lane."""
    return weather.meanwhile > 0.0 and not weather.overlapping and not weather.skipped


def mutant(sabotage: Sabotage) -> Sabotage:
    """Name it in the table."""
    return mutant_that_shows(in_any_weather)(sabotage)


def mutant_that_shows(needs: Callable[[FaultRates], bool]) -> Callable[[Sabotage], Sabotage]:
    """Name it in the table; only schedules in a certain weather are worth playing."""

    def named(sabotage: Sabotage) -> Sabotage:
        MUTANTS[sabotage.__name__] = Mutant(contextmanager(sabotage), needs)
        return sabotage

    return named
