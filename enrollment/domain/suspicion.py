"""The search for the request that makes a batch fail.

Judging a batch either comes to its end or fails: an error, or a worker that dies. The shortest
beginning of the batch that fails ends with the request that is to blame.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from enrollment.domain.model import microseconds

#: Failures of the whole batch after which its beginnings are tried.
WHOLE_FAILURES = 2
#: Failures of the shortest beginning after which its last request is to blame: a worker that
#: is killed by chance proves nothing.
PROVEN_FAILURES = 2
#: Requests of one batch that may be to blame; beyond that the fault is ours.
MAX_POISONOUS = 3
#: Tries after which a batch is given up, whatever was found.
MAX_ATTEMPTS = 100
#: A try that began so short a time ago may be about to lock its batch: its worker lives.
GRACE = timedelta(seconds=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """What is known of a batch that was tried and not answered."""

    #: Tries that failed, or that began and whose end nobody told.
    attempts: int = 0
    #: When a try began that nobody ended, in microseconds. Also tells it from all others.
    begun_at: int | None = None
    #: How often the present step failed.
    failures: int = 0
    #: So many requests of the beginning are known to pass; -1: not even none of them.
    passing: int = -1
    #: So many are known to fail; None: the whole batch is tried.
    failing: int | None = None
    #: Places of the requests that are to blame, which are left out.
    poisonous: tuple[int, ...] = ()
    #: Not even the batch without any request passes, so none of them is to blame.
    is_ours: bool = False

    def as_json(self) -> dict[str, Any]:
        """The form in which it is kept, beside its attempts."""
        return {name: value for name, value in asdict(self).items() if name != "attempts"}

    @property
    def is_search(self) -> bool:
        """Whether a beginning is tried, and what it does is taken back."""
        return self.failing is not None

    @property
    def is_apart(self) -> bool:
        """Whether the batch failed before, so that it is tried by itself."""
        return bool(self.failures or self.is_search or self.poisonous)

    @property
    def is_hopeless(self) -> bool:
        """Whether the batch is to be parked: the fault is not that of a few requests."""
        return self.is_ours or len(self.poisonous) > MAX_POISONOUS or self.attempts >= MAX_ATTEMPTS

    def step(self, total: int) -> int:
        """How many requests of the beginning are tried next."""
        if self.failing is None:
            return total
        if self.failing - self.passing <= 1:
            return self.failing
        return (self.passing + self.failing) // 2

    def is_in_work(self, now: datetime) -> bool:
        """Whether a try that nobody ended may still be made."""
        return self.begun_at is not None and microseconds(now - GRACE) < self.begun_at

    def begin(self, now: datetime) -> "Suspicion":
        """A try begins."""
        return replace(self, begun_at=microseconds(now), attempts=self.attempts + 1)

    def forgive(self) -> "Suspicion":
        """The try ended without saying anything about the batch."""
        if self.begun_at is None:
            return self
        return replace(self, begun_at=None, attempts=self.attempts - 1)

    def fail(self, total: int) -> "Suspicion":
        """The try failed, or its worker died."""
        attempts = self.attempts + (self.begun_at is None)
        ended = replace(self, begun_at=None, attempts=attempts, failures=self.failures + 1)
        if self.failing is None:
            return ended if ended.failures < WHOLE_FAILURES else _searching(ended, total)
        if self.failing - self.passing > 1:
            return replace(ended, failures=0, failing=self.step(total))
        return ended if ended.failures < PROVEN_FAILURES else _blaming(ended, self.failing)

    def succeed(self, total: int) -> "Suspicion":
        """The beginning that was tried passes."""
        step = self.step(total)
        failing = None if step == self.failing else self.failing
        return replace(self, begun_at=None, failures=0, passing=step, failing=failing)


def suspicion_of(kept: Mapping[str, Any] | None, attempts: int) -> Suspicion | None:
    """The suspicion out of its kept form; none where there is none."""
    if kept is None:
        return None
    known = {each.name: kept[each.name] for each in fields(Suspicion) if each.name in kept}
    known |= {"attempts": attempts, "poisonous": tuple(kept.get("poisonous", ()))}
    return Suspicion(**known)


def _searching(known: Suspicion, total: int) -> Suspicion:
    """The whole batch fails: its beginnings are tried, from the longest known to pass."""
    passing = known.passing if known.passing < total else -1
    return replace(known, failures=0, passing=passing, failing=total)


def _blaming(known: Suspicion, failing: int) -> Suspicion:
    """The last request of the shortest beginning that fails; where that is empty, none is."""
    if failing == 0:
        return replace(known, is_ours=True)
    poisonous = (*known.poisonous, failing - 1)
    return replace(known, failures=0, passing=failing, failing=None, poisonous=poisonous)
