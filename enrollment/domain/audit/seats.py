"""Audit rules: seats replayed from the events, compared with the counts of the courses."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from enrollment.domain.audit.event_chain import EventRecord
from enrollment.domain.audit.violations import Violation, ViolationKind, ViolationSubject


class CourseRecord(NamedTuple):
    """A stored course with its count of seats."""

    row: int
    course_id: str
    capacity: int | None
    seats_taken: int


class SeatReplay:
    """Counts the seats taken in each course, event by event in the order of the feed.

    `max_capacities` has the greatest capacity that each course ever had, None for unlimited.
    Each kind of violation is reported once per course.
    """

    def __init__(self, max_capacities: Mapping[str, int | None]) -> None:
        self._max_capacities = max_capacities
        self._reported: set[tuple[ViolationKind, str]] = set()
        self.active: dict[str, int] = {}

    def check_event(self, event: EventRecord) -> Violation | None:
        """Counts one event; returns a violation when its course first leaves its bounds."""
        change = event.after.is_active - (event.before is not None and event.before.is_active)
        if not change:
            return None
        course_id = event.course_id
        active = self.active[course_id] = self.active.get(course_id, 0) + change
        if active < 0:
            message = (
                f"{course_id} has {active} seats taken at position {event.position} of the feed"
            )
            return self._report_once(ViolationKind.SEATS_BELOW_ZERO, message, event)
        capacity = self._max_capacities.get(course_id)
        if change > 0 and capacity is not None and active > capacity:
            message = f"{course_id} has {active} of {capacity} seats taken"
            return self._report_once(ViolationKind.SEATS_EXCEEDED, message, event)
        return None

    def _report_once(
        self, kind: ViolationKind, message: str, event: EventRecord
    ) -> Violation | None:
        key = kind, event.course_id
        if key in self._reported:
            return None
        self._reported.add(key)
        return Violation(kind, message, event.about())

    def check_course(self, course: CourseRecord, enrolled: int) -> Iterator[Violation]:
        """Compares a course with its events, and with its number of active enrollments."""
        active = self.active.pop(course.course_id, 0)
        if course.seats_taken == active == enrolled:
            return
        message = f"{course.course_id} counts {course.seats_taken} seats, but {enrolled} are taken"
        if active != enrolled:
            message += f", and its events add up to {active}"
        yield Violation(
            ViolationKind.SEATS_COUNTED, message, ViolationSubject(course_id=course.course_id)
        )

    def check_rest(self) -> Iterator[Violation]:
        """Reports seats taken in courses that were not passed to `check_course`."""
        for course_id, active in self.active.items():
            if active:
                message = (
                    f"the events of {course_id} add up to {active} seats, but it does not exist"
                )
                yield Violation(
                    ViolationKind.SEATS_COUNTED, message, ViolationSubject(course_id=course_id)
                )
