"""Joins every request of a schedule with its outcome."""

from collections.abc import Iterator
from typing import NamedTuple

from enrollment.domain.codes import CallerKind
from tests.fault_lab.simulator.checks.database_contents import DatabaseContents, Submission
from tests.fault_lab.simulator.checks.model import Rank, SubmittedChange
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
    def change(self) -> RequestedChange:
        return self.attempt.changes[self.place]

    @property
    def submitted(self) -> SubmittedChange:
        return SubmittedChange(
            self.change,
            self.submission.received_at,
            rank_of(self.change, self.submission, self.place),
            self.attempt.caller.kind is CallerKind.ADMIN,
        )

    @property
    def name(self) -> str:
        return f"{self.attempt.label}[{self.place}] {self.change}"


def rank_of(change: RequestedChange, submission: Submission, place: int) -> Rank:
    """Returns the rank of a request; of two for one enrollment the greater wins."""
    if change.stated is None:
        return submission.received_at, 0, submission.place, place
    return change.stated, 1, -submission.place, place


def rows_of(history: History, contents: DatabaseContents) -> Iterator[Row]:
    """Yields every published request with its outcome."""
    for stored in contents.submissions.values():
        attempt = history.named(stored.label)
        if attempt is None or stored.published_at is None:
            continue
        outcomes = contents.outcomes_of(stored)
        for place in range(stored.total):
            if place < len(outcomes):
                reason = outcomes[place].reason
                code = outcomes[place].code.value
                yield Row(attempt, stored, place, code, reason.value if reason else None)
            else:
                yield Row(attempt, stored, place, "cancelled", None)
