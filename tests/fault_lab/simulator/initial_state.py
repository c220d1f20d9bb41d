"""The database contents at the start of a schedule: two courses, three learners, an invitation."""

import random
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.orm import Session

from enrollment.domain.model import Course, Invitation, Learner, Mode
from enrollment.storage import courses, invitations, learners
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


SCENES = (
    InitialState(),
    InitialState(granted=True),
    InitialState(capacity=1),
    InitialState(capacity=2),
    InitialState(other=CourseFacts(invite_only=True)),
    InitialState(capacity=1, other=CourseFacts(closes=SOON)),
    InitialState(other=CourseFacts(opens=SOON)),
)
#: Where transactions overlap, no course has a limit of seats.
OPEN_SCENES = tuple(scene for scene in SCENES if scene.capacity is None)


def draw_initial_state(rng: random.Random, *, overlapping: float) -> InitialState:
    """Draws an initial state."""
    return rng.choice(OPEN_SCENES if overlapping else SCENES)


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


def set_up(session: Session, scene: InitialState, *, now: datetime) -> None:
    """Stores the initial state."""
    courses.save_all(session, [course(*item) for item in scene.courses.items()])
    learners.save_all(session, [Learner(name, email(name)) for name in LEARNERS])
    for course_id, username in scene.invited:
        invitations.save(session, Invitation(course_id, email(username)), now=now)
