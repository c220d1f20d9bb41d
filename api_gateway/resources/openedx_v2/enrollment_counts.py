"""Counts of enrollments; a large number of all of them is kept for a while."""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy.orm import Session

from enrollment.storage.views import numbered_pages
from enrollment.storage.views.enrollment_views import EnrollmentFilters

#: Seconds for which a number is kept.
COUNT_SECONDS = 30.0
#: Smaller numbers are counted in milliseconds, and therefore never kept.
MIN_KEPT_COUNT = 100_000
_NO_FILTERS = EnrollmentFilters()


class _Counted(NamedTuple):
    total: int
    at: float


class EnrollmentCounts:
    """Counts the enrollments that match filters.

    Not locked: it is used in the one thread of lists, and two threads would both store a number
    that was counted just now.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._kept = _Counted(0, float("-inf"))

    def count(self, session: Session, filters: EnrollmentFilters, *, at_least: int) -> int:
        """Returns the number, exactly or, of all enrollments, as it was up to 30 s ago.

        It is never less than `at_least`, the number of rows that were seen.
        """
        if filters != _NO_FILTERS:
            return numbered_pages.count_matching(session, filters)
        if self._clock() - self._kept.at >= COUNT_SECONDS:
            count = numbered_pages.count_matching(session, filters)
            if count < MIN_KEPT_COUNT:
                return count
            self._kept = _Counted(count, self._clock())
        return max(self._kept.total, at_least)
