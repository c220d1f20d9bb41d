"""Quotas: how much of something one caller, and all callers together, may hold in this process."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from api_gateway.http.problems import too_many, unavailable

#: Seconds after which a caller may try again.
PLACE_RETRY_SECONDS = 5


class Quota:
    """Counts the places that callers hold. One per event loop."""

    def __init__(self, name: str, *, setting: str, per_caller: int, total: int) -> None:
        #: The things that take a place, in the plural.
        self.name = name
        self.setting = setting
        self.per_caller = per_caller
        self.total = total
        #: Number of places by caller; callers without a place are not listed.
        self.held: Counter[str] = Counter()

    @property
    def used(self) -> int:
        """The number of places that are taken."""
        return self.held.total()

    def check(self, caller: str) -> None:
        """Raises Problem 429 if the caller has no place left, 503 if no caller has."""
        if self.held[caller] >= self.per_caller:
            raise too_many(
                f"You have {self.per_caller} {self.name} at the same time in this process, the "
                f"most that one caller may have ({self.setting}); try again when one has ended.",
                retry_after=PLACE_RETRY_SECONDS,
            )
        if self.used >= self.total:
            raise unavailable(
                f"All callers together have {self.total} {self.name} at the same time, the most "
                "that this process takes; try again.",
                retry_after=PLACE_RETRY_SECONDS,
            )

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """Holds a place during the block. Raises Problem 429, 503."""
        self.check(caller)
        with self.checked_place(caller):
            yield

    @contextmanager
    def checked_place(self, caller: str) -> Iterator[None]:
        """Holds a place during the block, after `check`."""
        self.held[caller] += 1
        try:
            yield
        finally:
            self.held[caller] -= 1
            if not self.held[caller]:
                del self.held[caller]
