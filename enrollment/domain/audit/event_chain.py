"""Audit rules: the events of an enrollment form a chain that adds up to its state.

Each event is checked against the one before it only, so the number of events is not limited.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from uuid import UUID

from enrollment.domain.audit.violations import Violation, ViolationKind, ViolationSubject
from enrollment.domain.codes import ChangeKind
from enrollment.domain.events import EnrollmentState

#: Represents a stored state that cannot be decoded; differs from every valid state.
UNREADABLE_STATE = EnrollmentState("", is_active=False, cohort="unreadable")


class EventRecord(NamedTuple):
    """A stored event, its position in the feed, and facts about the event before it."""

    id: int
    batch_id: int
    position: int
    kind: str
    course_id: str
    username: str
    submission: str
    line: int
    before: EnrollmentState | None
    after: EnrollmentState
    previous_id: int | None
    #: Whether the previous event is of the same enrollment; None: it does not exist.
    is_same: bool | None
    previous_after: EnrollmentState | None
    #: None: the previous event has no position.
    previous_position: int | None

    def violation(self, kind: ViolationKind, message: str) -> Violation:
        """Returns a violation whose message begins with this event."""
        return Violation(kind, f"event {self.id} {message}", self.about())

    def about(self) -> ViolationSubject:
        """Returns the subject of a violation about this event."""
        request = self.batch_id, UUID(self.submission), self.line
        return ViolationSubject(*request, self.id, self.course_id, self.username)


class EnrollmentRecord(NamedTuple):
    """A stored enrollment, and facts about its newest event."""

    learner_id: int
    course_row: int
    #: None: the learner, or the course, does not exist.
    username: str | None
    course_id: str | None
    state: EnrollmentState
    event_id: int
    #: Whether the event is of the same enrollment; None: it does not exist.
    is_same: bool | None
    after: EnrollmentState | None

    def violation(self, kind: ViolationKind, message: str) -> Violation:
        """Returns a violation whose message begins with this enrollment."""
        username = self.username or f"learner {self.learner_id}"
        course_id = self.course_id or f"course {self.course_row}"
        about = ViolationSubject(
            event_id=self.event_id, course_id=self.course_id, username=self.username
        )
        return Violation(kind, f"the enrollment of {username} in {course_id} {message}", about)


def kind_between(before: EnrollmentState | None, after: EnrollmentState) -> ChangeKind | None:
    """Returns the most significant change between two states; None where nothing changed."""
    if before is None:
        return ChangeKind.CREATED if after.is_active else ChangeKind.DEACTIVATED
    if before.is_active != after.is_active:
        return ChangeKind.REACTIVATED if after.is_active else ChangeKind.DEACTIVATED
    if before.mode != after.mode:
        return ChangeKind.MODE_CHANGED
    return ChangeKind.UPDATED if before != after else None


def change_of(event: EventRecord) -> str | None:
    """Returns the kind of an event; for one that was imported that of its change."""
    if event.kind == ChangeKind.IMPORTED:
        return kind_between(event.before, event.after)
    return event.kind


def check_event(event: EventRecord) -> Iterator[Violation]:
    """Checks that an event has the right kind and continues the event before it."""
    if event.after is UNREADABLE_STATE or event.before is UNREADABLE_STATE:
        yield event.violation(ViolationKind.FOLD_UNREADABLE, "has a state that cannot be read")
        return
    kind = kind_between(event.before, event.after)
    if kind is None or kind != change_of(event):
        message = f"has the kind {event.kind}, but its change is {kind or 'none'}"
        yield event.violation(ViolationKind.FOLD_KIND, message)
    if event.previous_id is not None:
        yield from _check_link(event)
    elif event.before is not None:
        message = f"starts at {_text(event.before)}, but has no previous event"
        yield event.violation(ViolationKind.FOLD_BEFORE, message)


def _check_link(event: EventRecord) -> Iterator[Violation]:
    if event.is_same is None:
        message = f"follows event {event.previous_id}, which does not exist"
        yield event.violation(ViolationKind.FOLD_PREVIOUS_MISSING, message)
    elif not event.is_same:
        message = f"follows event {event.previous_id}, which belongs to another enrollment"
        yield event.violation(ViolationKind.FOLD_PREVIOUS_FOREIGN, message)
    elif event.before != event.previous_after:
        ended = f"event {event.previous_id} before it ended at {_text(event.previous_after)}"
        message = f"starts at {_text(event.before)}, but {ended}"
        yield event.violation(ViolationKind.FOLD_BEFORE, message)
    if event.previous_position is not None and event.previous_position >= event.position:
        message = (
            f"has position {event.position} in the feed, before event {event.previous_id}, "
            f"which it follows, at {event.previous_position}"
        )
        yield event.violation(ViolationKind.FEED_ORDER, message)


def check_enrollment(record: EnrollmentRecord) -> Iterator[Violation]:
    """Checks that an enrollment has the state after its newest event."""
    if record.username is None or record.course_id is None:
        missing = "learner" if record.username is None else "course"
        message = f"has a {missing} that does not exist"
        yield record.violation(ViolationKind.FOLD_OWNER_MISSING, message)
    newest = f"names event {record.event_id} as its newest, which"
    if record.after is None:
        yield record.violation(ViolationKind.FOLD_NEWEST_MISSING, f"{newest} does not exist")
    elif record.is_same is False:
        yield record.violation(ViolationKind.FOLD_NEWEST_FOREIGN, f"{newest} belongs to another")
    elif record.after != record.state or record.state is UNREADABLE_STATE:
        message = f"is {_text(record.state)}, but its events add up to {_text(record.after)}"
        yield record.violation(ViolationKind.FOLD_STATE, message)


def _text(state: EnrollmentState | None) -> str:
    if state is None:
        return "nothing"
    if state is UNREADABLE_STATE:
        return "an unreadable state"
    extras = [f"{name}={value}" for _, name, value in state.attributes]
    extras += [] if state.cohort is None else [f"cohort {state.cohort}"]
    return " ".join([state.mode, "active" if state.is_active else "inactive", *extras])


class MultisetHash:
    """Compares two multisets of integers, in any order and in constant memory.

    Keeps one sum of 64-bit hashes for each of `BUCKETS` buckets: `add` for one multiset, `remove`
    for the other. Where a sum is not zero, the multisets differ in that bucket. A difference goes
    undetected with a probability of about 2**-64.

    An anti-join would have to look up events by `previous_id`, which has no index.
    """

    #: With more buckets, fewer rows are read again to find a difference.
    BUCKETS = 65_521

    def __init__(self) -> None:
        self._sums: dict[int, int] = {}

    def add(self, numbers: Iterable[int], sign: int = 1) -> None:
        """Adds numbers to the first multiset."""
        sums = self._sums
        for number in numbers:
            bucket = number % self.BUCKETS
            mixed = sign * hash(number.to_bytes(8, "little", signed=True))
            sums[bucket] = sums.get(bucket, 0) + mixed

    def remove(self, numbers: Iterable[int]) -> None:
        """Adds numbers to the second multiset."""
        self.add(numbers, sign=-1)

    def differing(self, at_most: int) -> frozenset[int]:
        """Returns the first `at_most` buckets in which the multisets differ."""
        buckets = sorted(bucket for bucket, total in self._sums.items() if total)
        return frozenset(buckets[:at_most])


def check_successors(existing: Iterable[int], successors: Mapping[int, int]) -> Iterator[Violation]:
    """Checks that each event is followed by one event, or is the newest of one enrollment."""
    for number in sorted(existing):
        about, count = ViolationSubject(event_id=number), successors.get(number, 0)
        if count == 0:
            message = (
                f"event {number} has no successor, and is not the newest event of an enrollment"
            )
            yield Violation(ViolationKind.FOLD_LOOSE, message, about)
        elif count > 1:
            message = f"event {number} has {count} successors"
            yield Violation(ViolationKind.FOLD_SHARED, message, about)
