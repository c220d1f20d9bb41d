"""Failed attempts of a batch, and the search for the poison request among its rows.

A pure state machine. An attempt either completes or fails: an error, or a worker that died. When
the whole batch has failed `FAILURES_BEFORE_SEARCH` times, prefixes of it are attempted, each in a
transaction that is rolled back: first the empty prefix, then by bisection. The shortest prefix that
fails ends with the poison request, if the prefix without that request keeps passing meanwhile: on a
host that kills workers at random it does not. If even the empty prefix keeps failing, no request is
to blame.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

from enrollment.domain.model import microseconds

#: Failures of the whole batch after which its prefixes are attempted.
FAILURES_BEFORE_SEARCH = 2
#: Failures of the shortest failing prefix after which its last request is suspected. A single
#: failure may have another cause, such as a worker that was killed.
FAILURES_TO_BLAME = 2
#: Passes in a row of the prefix without that request after which it counts as poison. They cost
#: little, since nothing fails, and tell a poison request from a host on which any attempt may fail.
PASSES_TO_BLAME = 5
#: Failures in a row of the empty prefix after which the batch is parked. Many, since they are no
#: failures of its requests: workers also die for reasons of their host, and for these alone nothing
#: may have to wait for an operator. A batch that kills every worker ends here.
FAILURES_TO_PARK = 10
#: Maximum number of poison requests per batch; with more, the fault is not in the rows.
MAX_POISONOUS = 3
#: Failed attempts after which a batch is parked in any case.
MAX_FAILED_ATTEMPTS = 100
#: Timeouts, while processed alone, after which a batch is parked. They never blame a request.
MAX_TIMEOUTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureSearch:
    """The failed attempts of a batch, and the state of the search for its poison request."""

    #: Attempts that failed, plus the one that is open, if any.
    attempts: int = 0
    #: Start of the open attempt in microseconds since the epoch; also identifies the attempt.
    begun_at: int | None = None
    #: How often the current step (the whole batch, or one prefix) failed.
    failures: int = 0
    #: Length of the longest prefix known to pass; -1: none was attempted yet.
    passing: int = -1
    #: Length of the shortest prefix known to fail; None: the whole batch is processed.
    failing: int | None = None
    #: How often in a row the prefix without the suspected request passed again.
    passes: int = 0
    #: Positions of the poison requests found so far; they are left out of further attempts.
    poisonous: tuple[int, ...] = ()
    #: Whether even the empty prefix keeps failing, so that no request is to blame.
    is_ours: bool = False
    #: Attempts of this batch alone that timed out.
    timeouts: int = 0

    def as_json(self) -> dict[str, Any]:
        """Returns the stored form; `attempts` has a column of its own."""
        return {name: value for name, value in asdict(self).items() if name != "attempts"}

    @property
    def is_search(self) -> bool:
        """Whether the next attempt covers a prefix only and is rolled back."""
        return self.failing is not None

    @property
    def must_run_alone(self) -> bool:
        """Whether the batch failed before, so that it must not share a transaction."""
        return bool(self.failures or self.is_search or self.poisonous)

    @property
    def should_park(self) -> bool:
        """Whether attempts end here: the fault is not in a few requests."""
        return (
            self.is_ours
            or len(self.poisonous) > MAX_POISONOUS
            or self.attempts >= MAX_FAILED_ATTEMPTS
            or self.timeouts >= MAX_TIMEOUTS
        )

    def next_prefix(self, total: int) -> int:
        """Returns how many of the batch's `total` requests the next attempt covers."""
        if self.failing is None:
            return total
        if self.passing < 0:
            return 0
        if self.failing - self.passing > 1:
            return (self.passing + self.failing) // 2
        return self.passing if self._is_confirming else self.failing

    @property
    def _is_confirming(self) -> bool:
        """Whether the shortest failing prefix failed often enough, and the one before must pass."""
        return self.passing >= 0 and self.failures >= FAILURES_TO_BLAME

    def start_attempt(self, now: datetime) -> "FailureSearch":
        """Records that an attempt starts."""
        return replace(self, begun_at=microseconds(now), attempts=self.attempts + 1)

    def cancel_attempt(self) -> "FailureSearch":
        """Removes the open attempt, which ended for a reason unrelated to the batch."""
        if self.begun_at is None:
            return self
        return replace(self, begun_at=None, attempts=self.attempts - 1)

    def record_timeout(self) -> "FailureSearch":
        """Removes the open attempt and counts a timeout, which never blames a request."""
        return replace(self.cancel_attempt(), timeouts=self.timeouts + 1)

    def record_failure(self, total: int) -> "FailureSearch":
        """Counts the open attempt as failed: an error, or its worker died."""
        attempts = self.attempts + (self.begun_at is None)
        ended = replace(self, begun_at=None, attempts=attempts, failures=self.failures + 1)
        if self.failing is None:
            return ended if ended.failures < FAILURES_BEFORE_SEARCH else _start_search(ended, total)
        prefix = self.next_prefix(total)
        if self.passing < 0:
            return replace(ended, is_ours=ended.failures >= FAILURES_TO_PARK)
        if self.failing - self.passing > 1:
            return replace(ended, failures=0, failing=prefix)
        if self._is_confirming:  # not even what passed passes now, so the failures prove nothing
            return replace(ended, failures=0, passes=0)
        return ended

    def record_success(self, total: int) -> "FailureSearch":
        """Records that the attempted prefix passes."""
        if self.failing is not None and self._is_confirming:
            passed = replace(self, begun_at=None, passes=self.passes + 1)
            return passed if passed.passes < PASSES_TO_BLAME else _blame_last(passed, self.failing)
        prefix = self.next_prefix(total)
        failing = None if prefix == self.failing else self.failing
        return replace(self, begun_at=None, failures=0, passing=prefix, failing=failing)


def failure_search_of(stored: Mapping[str, Any] | None, attempts: int) -> FailureSearch | None:
    """Parses the stored form; None where nothing is stored. Unknown members are ignored."""
    if stored is None:
        return None
    known = {each.name: stored[each.name] for each in fields(FailureSearch) if each.name in stored}
    known |= {"attempts": attempts, "poisonous": tuple(stored.get("poisonous", ()))}
    return FailureSearch(**known)


def _start_search(known: FailureSearch, total: int) -> FailureSearch:
    """Starts the search: the whole batch fails, so its prefixes are attempted next."""
    passing = known.passing if known.passing < total else -1
    return replace(known, failures=0, passing=passing, failing=total)


def _blame_last(known: FailureSearch, prefix: int) -> FailureSearch:
    """Blames the last request of the shortest failing prefix."""
    poisonous = (*known.poisonous, prefix - 1)
    found = replace(known, failures=0, passes=0, poisonous=poisonous)
    return replace(found, passing=prefix, failing=None)
