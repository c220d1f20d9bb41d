"""The registry of mutants; each patches the real code inside a block."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from tests.fault_lab.simulator.fault_rates import FaultRates

Sabotage = Callable[[], Iterator[None]]


class Mutant(NamedTuple):
    """A patch, and the fault rates in which it can be found."""

    sabotage: Callable[[], AbstractContextManager[None]]
    needs: Callable[[FaultRates], bool]

    def __call__(self) -> AbstractContextManager[None]:
        """Patches the code inside the block."""
        return self.sabotage()


MUTANTS: dict[str, Mutant] = {}


def in_any_weather(_: FaultRates) -> bool:
    """Accepts all fault rates."""
    return True


def while_transactions_overlap(weather: FaultRates) -> bool:
    """Returns whether others commit between the reads and the writes of a transaction."""
    return weather.overlapping > 0.0


def while_singles_overtake_files(weather: FaultRates) -> bool:
    """Returns whether singles are stored while a file is, in the same lane."""
    return weather.meanwhile > 0.0 and not weather.overlapping and not weather.skipped


def mutant(sabotage: Sabotage) -> Sabotage:
    """Registers a mutant."""
    return mutant_that_shows(in_any_weather)(sabotage)


def mutant_that_shows(needs: Callable[[FaultRates], bool]) -> Callable[[Sabotage], Sabotage]:
    """Registers a mutant that only schedules with certain fault rates can find."""

    def named(sabotage: Sabotage) -> Sabotage:
        MUTANTS[sabotage.__name__] = Mutant(contextmanager(sabotage), needs)
        return sabotage

    return named
