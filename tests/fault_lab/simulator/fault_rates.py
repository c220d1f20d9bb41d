"""The rates of each fault in one schedule, and the virtual clock."""

import random
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from enrollment.domain.codes import Lane

#: The time at which every schedule starts.
START = datetime(2026, 9, 1, 12, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class VirtualTime:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self._now = START

    def now(self) -> datetime:
        """Returns the current time."""
        return self._now

    def monotonic(self) -> float:
        """Returns the seconds since the start."""
        return (self._now - START).total_seconds()

    def advance(self, seconds: float) -> None:
        """Moves the clock forward."""
        self._now += timedelta(seconds=seconds)

    def tick(self) -> datetime:
        """Moves the clock by the smallest step that timestamps can show."""
        self._now += _MICROSECOND
        return self._now


class FaultRates(NamedTuple):
    """The probability of each fault at each point where it can happen."""

    #: Other processes run between two transactions of one process.
    meanwhile: float = 0.0
    #: The process crashes.
    crash: float = 0.0
    #: The database is unavailable: at the start, at the commit, or just after it.
    away: float = 0.0
    #: The transaction conflicts with another one and must be retried.
    conflict: float = 0.0
    #: A fail point raises.
    raising: float = 0.0
    #: A message is lost, duplicated, delayed.
    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    #: The broker refuses a message, or loses all messages.
    broker_down: float = 0.0
    flush: float = 0.0
    #: The message of a crashed process is redelivered, not lost.
    returned: float = 0.5
    #: Others commit between the reads and the writes of a transaction.
    overlapping: float = 0.0
    #: A claim skips a row, or waits for it in vain, since another transaction holds it.
    skipped: float = 0.0
    #: Some requests crash the worker that processes them.
    poison: bool = False
    #: Most requests concern one enrollment.
    narrow: bool = False
    #: The lanes of files.
    lanes: tuple[Lane | None, ...] = (None, Lane.BULK, Lane.INTERACTIVE)


CALM = FaultRates()


def draw_fault_rates(rng: random.Random) -> FaultRates:
    """Draws the rates: some schedules have no faults, some one kind, some all of them."""

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
