"""Finds the requests about a learner in submissions, from the newest on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import orjson
from sqlalchemy.orm import Session

from api_gateway.database import ListReader
from enrollment.domain.codes import Kind
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import Submission
from enrollment.storage.queue import batches
from enrollment.storage.views import submission_views
from enrollment.storage.views.submission_views import SubmissionPageKey
from schemas.encoding.compact import unpack
from schemas.outcomes import decode_outcomes

#: Batches per query, which is one transaction: on SQLite reads delay commits.
_BATCHES_PER_READ = 8
#: Bounds of one search: submissions, batches of files (up to 1,000 rows each), and rows found.
MAX_SEARCHED_SUBMISSIONS, MAX_SEARCHED_BATCHES, MAX_FOUND_ROWS = 400, 2_000, 100


class FoundRow(NamedTuple):
    """A row with its submission and its outcome."""

    submission: Submission
    outcome: Outcome


class SearchPosition(NamedTuple):
    """Where a search goes on: after a submission (None: at the newest), at a batch of the next.

    With a batch the place is right before its file, so that submissions that came meanwhile do not
    take the file's place.
    """

    after: SubmissionPageKey | None = None
    ordinal: int = 0


class FoundRows(NamedTuple):
    """Rows of the newest submissions first."""

    rows: list[FoundRow]
    #: Where to search on; None: everything was searched.
    next: SearchPosition | None
    #: When the oldest submission was received that was searched.
    searched_since: datetime | None


@dataclass(slots=True)
class LearnerSearch:
    """One search: in the submissions of a caller, or of all callers for None."""

    lists: ListReader
    caller: str | None
    #: Usernames and e-mails of the learner.
    names: Collection[str]
    _rows: list[FoundRow] = field(default_factory=list)
    _searched: int = 0

    async def run(self, start: SearchPosition) -> FoundRows:
        """Searches from a position on. Raises ListTooSlow, DatabaseUnavailable."""
        listed = await self.lists.read(_list, self.caller, start.after)
        singles = await self._search_singles(listed)
        after, ordinal, since = start.after, start.ordinal, None
        for submission in listed:
            since = submission.received_at
            if submission.id in singles:
                self._rows.append(FoundRow(submission, singles[submission.id]))
            if submission.kind is Kind.BULK:
                stopped_at = await self._search_file(submission, ordinal)
                if stopped_at is not None:
                    position = SearchPosition(_right_before(submission), stopped_at)
                    return FoundRows(self._rows, position, since)
            after, ordinal = SubmissionPageKey(submission.received_at, submission.id), 0
        is_last = len(listed) < MAX_SEARCHED_SUBMISSIONS
        return FoundRows(self._rows, None if is_last else SearchPosition(after), since)

    async def _search_singles(self, listed: Sequence[Submission]) -> Mapping[UUID, Outcome]:
        """Returns the outcomes about the learner of single requests."""
        singles = [one for one in listed if one.batch_id is not None]
        ids = sorted({one.batch_id or 0 for one in singles})
        found: dict[UUID, Outcome] = {}
        for first in range(0, len(ids), _BATCHES_PER_READ):
            chosen = ids[first : first + _BATCHES_PER_READ]
            matching = await self.lists.read(_search_singles, chosen, self.names)
            for one in singles:
                outcomes = matching.get(one.batch_id or 0)
                outcome = outcomes and outcomes[one.position or 0]
                if outcome and outcome.user in self.names:
                    found[one.id] = outcome
        return found

    async def _search_file(self, submission: Submission, ordinal: int) -> int | None:
        """Searches a file; returns the batch at which a bound was reached, None at its end."""
        while self._searched < MAX_SEARCHED_BATCHES and len(self._rows) < MAX_FOUND_ROWS:
            number, found = await self.lists.read(
                _search_batches, submission.id, ordinal, self.names
            )
            self._rows += [FoundRow(submission, outcome) for outcome in found]
            ordinal += number
            self._searched += number
            if number < _BATCHES_PER_READ:
                return None
        return ordinal


def _right_before(submission: Submission) -> SubmissionPageKey:
    """Returns the key after which a list begins with a submission."""
    return SubmissionPageKey(submission.received_at, UUID(int=submission.id.int + 1))


def _search_batches(
    session: Session, submission_id: UUID, ordinal: int, names: Collection[str]
) -> tuple[int, list[Outcome]]:
    """Searches some batches of a file; returns their number and the outcomes found."""
    stored = batches.list_outcomes(session, submission_id, ordinal, _BATCHES_PER_READ)
    found = [
        outcome
        for packed in stored
        if _may_match(packed, names)
        for outcome in decode_outcomes(packed)
        if outcome.user in names
    ]
    return len(stored), found


def _search_singles(
    session: Session, batch_ids: Collection[int], names: Collection[str]
) -> dict[int, list[Outcome]]:
    """Returns the outcomes of those batches of singles in which a name appears."""
    return {
        batch_id: decode_outcomes(each.outcomes)
        for batch_id, each in submission_views.find_outcomes(session, batch_ids).items()
        if _may_match(each.outcomes, names)
    }


def _may_match(packed: bytes, names: Collection[str]) -> bool:
    """Whether a name appears in the text of outcomes: only these are decoded."""
    text = unpack(packed) if packed else b""
    return any(orjson.dumps(name) in text for name in names)


def _list(
    session: Session, caller: str | None, after: SubmissionPageKey | None
) -> list[Submission]:
    limit = MAX_SEARCHED_SUBMISSIONS
    if caller is None:
        return submission_views.page_of_all(session, state=None, after=after, limit=limit)
    return submission_views.page(session, caller, states=(), after=after, limit=limit)
