"""How bad the weather of one schedule is: what goes wrong, and how often."""

import random
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from enrollment.domain.codes import Lane

#: When every schedule begins.
START = datetime(2026, 9, 1, 12, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class VirtualTime:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self._now = START

    def now(self) -> datetime:
        """The moment."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return (self._now - START).total_seconds()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)

    def tick(self) -> datetime:
        """Let as little time pass as two moments can differ by."""
        self._now += _MICROSECOND
        return self._now


class FaultRates(NamedTuple):
    """The chance of each thing that can happen, each time that it can."""

    #: Others get their turn between two transactions of one process.
    meanwhile: float = 0.0
    #: The process dies.
    crash: float = 0.0
    #: The database is away: at the beginning, at the commit, or once it took place.
    away: float = 0.0
    #: Somebody else was first: the transaction is to be done again.
    conflict: float = 0.0
    #: A fail point raises.
    raising: float = 0.0
    #: A message never arrives, arrives twice, arrives late.
    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    #: The broker is down or forgets everything, at any step.
    broker_down: float = 0.0
    flush: float = 0.0
    #: A killed process's message is delivered again rather than lost.
    returned: float = 0.5
    #: Others commit between what a transaction reads and what it writes.
    overlapping: float = 0.0
    #: A claim skips a row, or waits for it in vain, since somebody else holds it for a moment.
    skipped: float = 0.0
    #: Some wishes kill whoever judges them.
    poison: bool = False
    #: Almost every wish is about one enrollment.
    narrow: bool = False
    #: The lanes that files ask for.
    lanes: tuple[Lane | None, ...] = (None, Lane.BULK, Lane.INTERACTIVE)


CALM = FaultRates()


def draw_fault_rates(rng: random.Random) -> FaultRates:
    """Any weather: some schedules are calm, some have one fault only, some all of them."""

    def chance(most: float) -> float:
        return rng.random() * most if rng.random() < 0.6 else 0.0

    overlapping = rng.choice((0.0, 0.0, 0.0, 0.8))
    narrow = overlapping > 0.0 or rng.random() < 0.4
    lanes = CALM.lanes
    if narrow:
        lanes = (Lane.BULK,) if overlapping else (Lane.INTERACTIVE,)
    return FaultRates(
        meanwhile=rng.choice((0.0, 0.15, 0.5)),
        crash=chance(0.12),
        away=chance(0.08),
        conflict=chance(0.08),
        raising=chance(0.1),
        lost=0.0 if overlapping else chance(0.5),
        doubled=chance(0.5),
        late=chance(0.5),
        broker_down=chance(0.1),
        flush=chance(0.1),
        returned=rng.choice((0.0, 0.5, 1.0)),
        overlapping=overlapping,
        skipped=chance(0.5),
        poison=rng.random() < 0.1,
        narrow=narrow,
        lanes=lanes,
    )
