"""Records the actions of clients and operators in one schedule, and their results."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from enrollment.domain.model import Outcome
from tests.fault_lab.simulator.checks.model import CourseFacts, Model
from tests.fault_lab.simulator.workload import Attempt

#: Prefix of a violation that is only an error in the log.
LOGGED = "logged: "


class Edit(NamedTuple):
    """An operator's change of a course or an invitation."""

    at: datetime
    apply: Callable[[Model], None]


class CourseChange:
    """Replaces the facts of a course in the model."""

    def __init__(self, course_id: str, facts: CourseFacts) -> None:
        self._course_id, self._facts = course_id, facts

    def __call__(self, model: Model) -> None:
        model.courses[self._course_id] = self._facts


class InvitationChange:
    """Replaces the invitations in the model."""

    def __init__(self, invited: frozenset[tuple[str, str]]) -> None:
        self._invited = invited

    def __call__(self, model: Model) -> None:
        model.invited = set(self._invited)


class Capacity(NamedTuple):
    """The capacity of a course after a position of the feed."""

    course_id: str
    after: int
    seats: int | None


class Cancellation(NamedTuple):
    """A client's request to cancel a submission."""

    submission_id: UUID
    began: datetime
    ended: datetime
    #: True: accepted; False: already finished; None: unknown.
    result: bool | None


class ReadOutcomes(NamedTuple):
    """Outcomes as a client read them."""

    submission_id: UUID
    outcomes: list[Outcome]


@dataclass
class History:
    """Everything that clients and operators did and saw."""

    courses: dict[str, CourseFacts]
    invited: set[tuple[str, str]]
    #: No request may be refused, because no rule depends on other requests.
    granted: bool = False
    #: Incomplete uploads were purged.
    is_purged: bool = False
    #: Transactions overlapped, so processing times do not give an order.
    overlapped: bool = False
    #: Number of crashes, errors and outages: each may leave an attempt counted.
    failures: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    capacities: list[Capacity] = field(default_factory=list)
    cancellations: list[Cancellation] = field(default_factory=list)
    outcome_reads: list[ReadOutcomes] = field(default_factory=list)
    #: Violations found while the schedule ran.
    faults: list[str] = field(default_factory=list)
    _moments: int = 0

    def moment(self) -> int:
        """Returns the next number in the order of what clients see."""
        self._moments += 1
        return self._moments

    def named(self, label: str | None) -> Attempt | None:
        """Returns the call that made a submission."""
        return next((one for one in self.attempts if one.label == label), None)

    def id_of(self, submission_id: UUID) -> str:
        """Returns a label for a submission that is the same in every run."""
        for attempt in self.attempts:
            if attempt.id == submission_id:
                return attempt.label
        return "?"
