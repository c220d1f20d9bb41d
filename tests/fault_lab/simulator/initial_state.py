"""The database contents at the start of a schedule: two courses, three learners, an invitation."""

import random
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import update
from sqlalchemy.orm import Session

from enrollment.domain.model import Course, Invitation, Learner, Mode
from enrollment.storage import courses, invitations, learners
from enrollment.storage.tables import MaintenanceRow
from tests.fault_lab.simulator.checks.model import CourseFacts, Key
from tests.fault_lab.simulator.fault_rates import START
from tests.fault_lab.simulator.workload import ALGEBRA, BIOLOGY, LEARNERS, MODES

#: When a course closes during the schedule.
SOON = START + timedelta(seconds=8)


class InitialState(NamedTuple):
    """One initial state."""

    #: Seats of the first course; None: unlimited.
    capacity: int | None = None
    #: The second course.
    other: CourseFacts = CourseFacts()
    #: No request is refused because of others: the order of processing does not matter.
    granted: bool = False

    @property
    def courses(self) -> dict[str, CourseFacts]:
        """Returns both courses."""
        return {ALGEBRA: CourseFacts(capacity=self.capacity), BIOLOGY: self.other}

    @property
    def invited(self) -> set[Key]:
        """Returns the learners that are invited to a closed course."""
        return {(BIOLOGY, "ada")} if self.other.invite_only else set()


INITIAL_STATES = (
    InitialState(),
    InitialState(granted=True),
    InitialState(capacity=1),
    InitialState(capacity=2),
    InitialState(other=CourseFacts(invite_only=True)),
    InitialState(capacity=1, other=CourseFacts(closes=SOON)),
    InitialState(other=CourseFacts(opens=SOON)),
)
#: Where transactions overlap, no course has a limit of seats.
UNLIMITED_STATES = tuple(
    initial_state for initial_state in INITIAL_STATES if initial_state.capacity is None
)


def draw_initial_state(rng: random.Random, *, overlapping: float) -> InitialState:
    """Draws an initial state."""
    return rng.choice(UNLIMITED_STATES if overlapping else INITIAL_STATES)


def course(course_id: str, facts: CourseFacts) -> Course:
    """Returns the course as the service stores it."""
    return Course(
        course_id=course_id,
        modes=tuple(Mode(slug=slug) for slug in MODES),
        capacity=facts.capacity,
        enrollment_start=facts.opens,
        enrollment_end=facts.closes,
        invite_only=facts.invite_only,
    )


def email(username: str) -> str:
    """Returns the e-mail address of invitations."""
    return f"{username}@example.org"


def set_up(session: Session, initial_state: InitialState, *, now: datetime) -> None:
    """Stores the initial state."""
    courses.save_all(session, [course(*item) for item in initial_state.courses.items()])
    learners.save_all(session, [Learner(name, email(name)) for name in LEARNERS])
    for course_id, username in initial_state.invited:
        invitations.save(session, Invitation(course_id, email(username)), now=now)
    session.execute(update(MaintenanceRow).values(ended_at=now))
