"""Finds the rows about a learner in the files of a caller, from the newest on."""

from collections.abc import Collection
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
from schemas.encoding.compact import unpack
from schemas.outcomes import decode_outcomes

#: Batches per query, which is one transaction: on SQLite reads delay commits.
_BATCHES_PER_READ = 8
#: Bounds of one search: the newest submissions, batches of up to 1,000 rows, and rows found.
MAX_SEARCHED_SUBMISSIONS, MAX_SEARCHED_BATCHES, MAX_FOUND_ROWS = 200, 400, 100


class FoundRow(NamedTuple):
    """A row with its submission and its outcome."""

    submission: Submission
    outcome: Outcome


class FoundRows(NamedTuple):
    """Rows of the newest files first."""

    rows: list[FoundRow]
    #: When the oldest file was received that was searched completely; None: all were.
    searched_since: datetime | None


async def find_rows(lists: ListReader, caller: str, names: Collection[str]) -> FoundRows:
    """Finds the rows whose learner has one of the names (usernames, e-mails).

    Raises ListTooSlow, DatabaseUnavailable.
    """
    needles = [orjson.dumps(name) for name in names]
    listed = await lists.read(
        submission_views.page, caller, states=(), after=None, limit=MAX_SEARCHED_SUBMISSIONS
    )
    rows: list[FoundRow] = []
    searched = 0
    since = listed[-1].received_at if len(listed) == MAX_SEARCHED_SUBMISSIONS else None
    previous: datetime | None = None
    for submission in listed:
        if submission.kind is not Kind.BULK:
            continue
        ordinal = number = 0
        while searched < MAX_SEARCHED_BATCHES and len(rows) < MAX_FOUND_ROWS:
            number, found = await lists.read(_search, submission.id, ordinal, needles, names)
            rows += [FoundRow(submission, outcome) for outcome in found]
            ordinal += number
            searched += number
            if number < _BATCHES_PER_READ:
                break
        else:
            return FoundRows(rows[:MAX_FOUND_ROWS], previous or submission.received_at)
        previous = submission.received_at
    return FoundRows(rows[:MAX_FOUND_ROWS], since)


def _search(
    session: Session,
    submission_id: UUID,
    ordinal: int,
    needles: Collection[bytes],
    names: Collection[str],
) -> tuple[int, list[Outcome]]:
    """Searches some batches; returns their number and the outcomes found.

    Only batches in whose text a name appears are decoded.
    """
    stored = batches.list_outcomes(session, submission_id, ordinal, _BATCHES_PER_READ)
    found: list[Outcome] = []
    for packed in filter(None, stored):
        text = unpack(packed)
        if any(needle in text for needle in needles):
            found += [outcome for outcome in decode_outcomes(packed) if outcome.user in names]
    return len(stored), found
