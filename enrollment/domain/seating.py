"""Seats in an audit: replayed from the events, compared with what courses say."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from enrollment.domain.auditing import About, Fault, Violation
from enrollment.domain.chains import KeptEvent


class KeptCourse(NamedTuple):
    """A course and what it says about its seats."""

    row: int
    course_id: str
    capacity: int | None
    seats_taken: int


class Seats:
    """Seats taken in each course, change by change in the order of the feed.

    ``most`` has the greatest capacity that each course ever had, None for unlimited.
    """

    def __init__(self, most: Mapping[str, int | None]) -> None:
        self._most = most
        self._told: set[tuple[Fault, str]] = set()
        self.active: dict[str, int] = {}

    def step(self, event: KeptEvent) -> Violation | None:
        """Count one change; tells when a course first leaves its bounds."""
        change = event.after.is_active - (event.before is not None and event.before.is_active)
        if not change:
            return None
        course_id = event.course_id
        active = self.active[course_id] = self.active.get(course_id, 0) + change
        if active < 0:
            says = f"{course_id} has {active} seats taken at {event.position} of the feed"
            return self._once(Fault.SEATS_BELOW_ZERO, says, event)
        most = self._most.get(course_id)
        if change > 0 and most is not None and active > most:
            return self._once(
                Fault.SEATS_EXCEEDED, f"{course_id} has {active} of {most} seats taken", event
            )
        return None

    def _once(self, fault: Fault, says: str, event: KeptEvent) -> Violation | None:
        key = fault, event.course_id
        if key in self._told:
            return None
        self._told.add(key)
        return Violation(fault, says, event.about())

    def end(self, course: KeptCourse, counted: int) -> Violation | None:
        """Compare a course with its events and its enrollments, ``counted`` of them active."""
        active = self.active.pop(course.course_id, 0)
        if course.seats_taken == active == counted:
            return None
        taken = f"{course.course_id} counts {course.seats_taken} seats, but {counted} are taken"
        says = taken if active == counted else f"{taken}, and its events come to {active}"
        return Violation(Fault.SEATS_COUNTED, says, About(course_id=course.course_id))

    def left(self) -> Iterator[Violation]:
        """Courses with seats taken that are not among those that were compared."""
        for course_id, active in self.active.items():
            if active:
                says = f"the events of {course_id} come to {active} seats, but there is no such"
                yield Violation(Fault.SEATS_COUNTED, says, About(course_id=course_id))
