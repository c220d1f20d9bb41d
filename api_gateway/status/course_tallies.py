"""Counts the outcomes of a submission for each course, as a plan shows them."""

from collections import OrderedDict
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from api_gateway.database import ListReader
from enrollment.domain.codes import Code
from enrollment.domain.submissions import Submission, is_cancelled_as_whole
from enrollment.storage.queue import batches
from schemas.outcomes import decode_outcomes

#: Batches per query, which is one transaction: on SQLite reads delay commits.
_BATCHES_PER_READ = 8
#: Most batches of a submission that are counted; they hold 1,000 rows each.
MAX_TALLIED_BATCHES = 200
_MAX_CACHED = 32


class CourseTallies(NamedTuple):
    """The number of outcomes by course and code, courses with most rows first."""

    courses: tuple[tuple[str, dict[Code, int]], ...]
    #: Whether all rows were counted.
    is_complete: bool


class CourseTallyReader:
    """Counts, and keeps the results of submissions that are finished. One per event loop."""

    def __init__(self, lists: ListReader) -> None:
        self._lists = lists
        self._counted: OrderedDict[UUID, CourseTallies] = OrderedDict()

    async def read(self, submission: Submission) -> CourseTallies:
        """Returns the tallies of a submission, which the caller may see. Raises ListTooSlow."""
        counted = self._counted.get(submission.id)
        if counted is None:
            counted = await self._count(submission)
            if submission.finished_at is not None:
                self._counted[submission.id] = counted
            while len(self._counted) > _MAX_CACHED:
                self._counted.popitem(last=False)
        return counted

    async def _count(self, submission: Submission) -> CourseTallies:
        tallies: dict[str, dict[Code, int]] = {}
        ordinal = 0
        while ordinal < MAX_TALLIED_BATCHES:
            number = await self._lists.read(_add_batches, submission.id, ordinal, tallies)
            ordinal += number
            if number < _BATCHES_PER_READ:
                break
        by_size = sorted(tallies.items(), key=lambda item: (-sum(item[1].values()), item[0]))
        return CourseTallies(tuple(by_size), ordinal < MAX_TALLIED_BATCHES)


def _add_batches(
    session: Session, submission_id: UUID, ordinal: int, tallies: dict[str, dict[Code, int]]
) -> int:
    """Adds the outcomes of some batches to the tallies; returns the number of batches."""
    found = batches.list_outcomes(session, submission_id, ordinal, _BATCHES_PER_READ)
    for stored in found:
        for outcome in [] if is_cancelled_as_whole(stored) else decode_outcomes(stored):
            counts = tallies.setdefault(outcome.course_id or "", {})
            counts[outcome.code] = counts.get(outcome.code, 0) + 1
    return len(found)
