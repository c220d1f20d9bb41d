"""The registry of mutants; each patches the real code inside a block."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from enrollment.domain.codes import Lane
from tests.fault_lab.simulator.fault_rates import FaultRates

Patch = Callable[[], Iterator[None]]


class Mutant(NamedTuple):
    """A patch, and the fault rates in which it can be found."""

    patch: Callable[[], AbstractContextManager[None]]
    needs: Callable[[FaultRates], bool]

    def __call__(self) -> AbstractContextManager[None]:
        """Patches the code inside the block."""
        return self.patch()


MUTANTS: dict[str, Mutant] = {}
#: Those that only schedules with relay, consumer and replies can find.
DELIVERY_MUTANTS: dict[str, Mutant] = {}


def with_any_rates(_: FaultRates) -> bool:
    """Accepts all fault rates."""
    return True


def while_transactions_overlap(rates: FaultRates) -> bool:
    """Returns whether others commit between the reads and the writes of a transaction."""
    return rates.overlapping > 0.0


def while_singles_overtake_files(rates: FaultRates) -> bool:
    """Returns whether singles are often stored while a file of several parts is, in one lane."""
    is_ordered = not rates.overlapping and not rates.skipped
    return rates.meanwhile > 0.3 and is_ordered and Lane.BULK not in rates.lanes


def while_points_raise(rates: FaultRates) -> bool:
    """Returns whether fail points often raise."""
    return rates.raising > 0.06


def while_servers_are_away(rates: FaultRates) -> bool:
    """Returns whether database and broker are often away."""
    return rates.away > 0.05 and rates.broker_down > 0.06


def while_workers_crash_often(rates: FaultRates) -> bool:
    """Returns whether workers often crash, and their messages return, so others crash at them."""
    return rates.crash > 0.08 and rates.doubled > 0.2 and rates.returned > 0.0


def mutant(patch: Patch) -> Patch:
    """Registers a mutant."""
    return mutant_that_shows(with_any_rates)(patch)


def mutant_that_shows(needs: Callable[[FaultRates], bool]) -> Callable[[Patch], Patch]:
    """Registers a mutant that only schedules with certain fault rates can find."""

    def named(patch: Patch) -> Patch:
        MUTANTS[patch.__name__] = Mutant(contextmanager(patch), needs)
        return patch

    return named


def delivery_mutant(patch: Patch) -> Patch:
    """Registers a mutant of deliveries."""
    return delivery_mutant_that_shows(with_any_rates)(patch)


def delivery_mutant_that_shows(needs: Callable[[FaultRates], bool]) -> Callable[[Patch], Patch]:
    """Registers a mutant of deliveries that only certain fault rates can show."""

    def named(patch: Patch) -> Patch:
        DELIVERY_MUTANTS[patch.__name__] = Mutant(contextmanager(patch), needs)
        return patch

    return named
