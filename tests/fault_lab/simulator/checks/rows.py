"""Joins every request of a schedule with its outcome."""

from collections.abc import Iterator
from typing import NamedTuple

from enrollment.domain.codes import CallerKind
from tests.fault_lab.simulator.checks.database_contents import Records, Submission
from tests.fault_lab.simulator.checks.model import Asked, Rank
from tests.fault_lab.simulator.history import History
from tests.fault_lab.simulator.workload import Attempt, RequestedChange


class Row(NamedTuple):
    """One request of one submission, with its outcome."""

    attempt: Attempt
    submission: Submission
    place: int
    code: str
    reason: str | None

    @property
    def wish(self) -> RequestedChange:
        return self.attempt.wishes[self.place]

    @property
    def asked(self) -> Asked:
        return Asked(
            self.wish,
            self.submission.received_at,
            rank_of(self.wish, self.submission, self.place),
            self.attempt.caller.kind is CallerKind.ADMIN,
        )

    @property
    def name(self) -> str:
        return f"{self.attempt.label}[{self.place}] {self.wish}"


def rank_of(wish: RequestedChange, submission: Submission, place: int) -> Rank:
    """Returns the rank of a request; of two for one enrollment the greater wins."""
    if wish.stated is None:
        return submission.received_at, 0, submission.place, place
    return wish.stated, 1, -submission.place, place


def rows_of(history: History, records: Records) -> Iterator[Row]:
    """Yields every published request with its outcome."""
    for kept in records.submissions.values():
        attempt = history.named(kept.label)
        if attempt is None or kept.published_at is None:
            continue
        outcomes = records.outcomes_of(kept)
        for place in range(kept.total):
            if place < len(outcomes):
                reason = outcomes[place].reason
                code = outcomes[place].code.value
                yield Row(attempt, kept, place, code, reason.value if reason else None)
            else:
                yield Row(attempt, kept, place, "cancelled", None)
