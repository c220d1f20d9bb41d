"""What clients and operators saw of one schedule, and when."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from enrollment.domain.model import Outcome
from tests.fault_lab.simulator.checks.model import CourseFacts, Model
from tests.fault_lab.simulator.workload import Attempt

#: How a fault begins that is nothing but an error in the log.
LOGGED = "logged: "


class Edit(NamedTuple):
    """An operator's change of a course or an invitation."""

    at: datetime
    apply: Callable[[Model], None]


class Capacity(NamedTuple):
    """How many seats a course has from behind a position of the feed on."""

    course_id: str
    after: int
    seats: int | None


class Cancelling(NamedTuple):
    """A client's wish that the rest be cancelled."""

    submission_id: UUID
    began: datetime
    ended: datetime
    #: True: it will be; False: it is finished; None: nobody knows.
    said: bool | None


class Reading(NamedTuple):
    """Outcomes as a client read them."""

    submission_id: UUID
    outcomes: list[Outcome]


@dataclass
class History:
    """All of it."""

    courses: dict[str, CourseFacts]
    invited: set[tuple[str, str]]
    #: Nothing may be refused, because no rule looks at what others did.
    granted: bool = False
    #: What broke off was swept.
    is_tidy: bool = False
    #: Transactions overlapped, so the moments of work say nothing about its order.
    overlapped: bool = False
    #: Deaths, errors and outages: what may leave an attempt counted.
    failures: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    capacities: list[Capacity] = field(default_factory=list)
    cancellings: list[Cancelling] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    #: Facts that are faults wherever they appear.
    faults: list[str] = field(default_factory=list)
    _moments: int = 0

    def moment(self) -> int:
        """A place in the order of what clients see."""
        self._moments += 1
        return self._moments

    def named(self, label: str | None) -> Attempt | None:
        """The call behind a submission."""
        return next((one for one in self.attempts if one.label == label), None)

    def id_of(self, submission_id: UUID) -> str:
        """A name of a submission that is the same in every run."""
        for attempt in self.attempts:
            if attempt.id == submission_id:
                return attempt.label
        return "?"
