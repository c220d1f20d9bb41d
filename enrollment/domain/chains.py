"""The events of an enrollment as a chain: each begins where the one before it ended.

Checked one event at a time against its neighbour, so that any number of them can be audited.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from uuid import UUID

from enrollment.domain.auditing import About, Fault, Violation
from enrollment.domain.codes import ChangeKind
from enrollment.domain.events import EnrollmentState

#: Stands for a state that cannot be read; equal to none that can.
UNREADABLE = EnrollmentState("", is_active=False, cohort="unreadable")
#: Sums that a balance keeps: the more, the fewer records are looked at again.
_SUMS = 65_521


class KeptEvent(NamedTuple):
    """An event with its place in the feed, and what it says of the event before it."""

    id: int
    #: Of the batch that it is kept under.
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
    #: Whether the event before it is of the same course and learner; None: it is not there.
    is_same: bool | None
    previous_after: EnrollmentState | None
    previous_position: int | None

    def about(self) -> About:
        """What a violation on it is about."""
        return About(
            self.batch_id,
            UUID(self.submission),
            self.line,
            self.id,
            self.course_id,
            self.username,
        )


class KeptEnrollment(NamedTuple):
    """An enrollment, and what its newest event says."""

    learner_id: int
    course_row: int
    #: None: there is no such learner, no such course.
    username: str | None
    course_id: str | None
    standing: EnrollmentState
    event_id: int
    #: None: there is no such event.
    is_same: bool | None
    after: EnrollmentState | None


def kind_between(before: EnrollmentState | None, after: EnrollmentState) -> ChangeKind | None:
    """The greatest change between two states; None where nothing changed."""
    if before is None:
        return ChangeKind.CREATED if after.is_active else ChangeKind.DEACTIVATED
    if before.is_active != after.is_active:
        return ChangeKind.REACTIVATED if after.is_active else ChangeKind.DEACTIVATED
    if before.mode != after.mode:
        return ChangeKind.MODE_CHANGED
    return ChangeKind.UPDATED if before != after else None


def is_chained(event: KeptEvent) -> bool:
    """Whether an event begins where the one before it ended, and says rightly what it did."""
    if event.after is UNREADABLE or event.before is UNREADABLE:
        return False
    if event.previous_id is None:
        begins = event.before is None
    else:
        begins = (
            event.is_same is True
            and event.before == event.previous_after
            and (event.previous_position is None or event.previous_position < event.position)
        )
    return begins and kind_between(event.before, event.after) == event.kind


def faults_of_event(event: KeptEvent) -> Iterator[Violation]:
    """What is wrong with an event that is not chained."""
    this, about = f"event {event.id}", event.about()
    if event.after is UNREADABLE or event.before is UNREADABLE:
        yield Violation(Fault.FOLD_UNREADABLE, f"a state of {this} cannot be read", about)
        return
    kind = kind_between(event.before, event.after)
    if kind != event.kind:
        says = f"{this} is called {event.kind}, but what it did is {kind or 'nothing'}"
        yield Violation(Fault.FOLD_KIND, says, about)
    if event.previous_id is None:
        if event.before is not None:
            says = f"{this} begins at {_shown(event.before)}, but no event is before it"
            yield Violation(Fault.FOLD_BEFORE, says, about)
        return
    yield from _faults_of_link(event, this, about)


def _faults_of_link(event: KeptEvent, this: str, about: About) -> Iterator[Violation]:
    that = f"event {event.previous_id}"
    if event.is_same is None:
        says = f"{this} follows {that}, which is not there"
        yield Violation(Fault.FOLD_PREVIOUS_MISSING, says, about)
    elif not event.is_same:
        says = f"{this} follows {that}, which is of another enrollment"
        yield Violation(Fault.FOLD_PREVIOUS_FOREIGN, says, about)
    elif event.before != event.previous_after:
        came_to, begins = _shown(event.previous_after), _shown(event.before)
        says = f"{this} begins at {begins}, but {that} before it came to {came_to}"
        yield Violation(Fault.FOLD_BEFORE, says, about)
    if event.previous_position is not None and event.previous_position >= event.position:
        says = (
            f"{this} stands at {event.position} of the feed, before {that}, which it follows, "
            f"at {event.previous_position}"
        )
        yield Violation(Fault.FEED_ORDER, says, about)


def is_folded(kept: KeptEnrollment) -> bool:
    """Whether an enrollment is what its newest event came to."""
    return kept.is_same is True and kept.after == kept.standing and kept.standing is not UNREADABLE


def faults_of_enrollment(kept: KeptEnrollment) -> Iterator[Violation]:
    """What is wrong with an enrollment that is not what its newest event came to."""
    username = kept.username or f"learner {kept.learner_id}"
    course_id = kept.course_id or f"course {kept.course_row}"
    this = f"the enrollment of {username} in {course_id}"
    about = About(event_id=kept.event_id, course_id=kept.course_id, username=kept.username)
    if kept.username is None or kept.course_id is None:
        lacking = username if kept.username is None else course_id
        yield Violation(Fault.FOLD_OWNER_MISSING, f"{this}: there is no {lacking}", about)
    if kept.after is None:
        says = f"{this} names event {kept.event_id} as its newest, which is not there"
        yield Violation(Fault.FOLD_NEWEST_MISSING, says, about)
    elif kept.is_same is False:
        says = f"{this} names event {kept.event_id} as its newest, which is of another"
        yield Violation(Fault.FOLD_NEWEST_FOREIGN, says, about)
    elif kept.after != kept.standing or kept.standing is UNREADABLE:
        stands, came_to = _shown(kept.standing), _shown(kept.after)
        says = f"{this} is {stands}, but its events come to {came_to}"
        yield Violation(Fault.FOLD_STATE, says, about)


def _shown(standing: EnrollmentState | None) -> str:
    if standing is None:
        return "nothing"
    if standing is UNREADABLE:
        return "what cannot be read"
    extras = [f"{name}={value}" for _, name, value in standing.attributes]
    extras += [] if standing.cohort is None else [f"cohort {standing.cohort}"]
    return " ".join([standing.mode, "active" if standing.is_active else "inactive", *extras])


class Balance:
    """Tells whether two streams of numbers hold the same ones as often, in any order.

    Only sums of mixed numbers are kept; where two sums differ, ``is_off`` tells for which
    numbers to look again. That streams differ and no sum does is as likely as guessing 64 bits.
    """

    def __init__(self) -> None:
        self._sums: dict[int, int] = {}

    def add(self, number: int) -> None:
        """One stream has it."""
        place = number % _SUMS
        mixed = hash(number.to_bytes(8, "little", signed=True))
        self._sums[place] = self._sums.get(place, 0) + mixed

    def take(self, number: int) -> None:
        """The other stream has it."""
        place = number % _SUMS
        mixed = hash(number.to_bytes(8, "little", signed=True))
        self._sums[place] = self._sums.get(place, 0) - mixed

    def off(self, at_most: int) -> frozenset[int]:
        """The sums that differ, a few of them."""
        places = sorted(place for place, total in self._sums.items() if total)
        return frozenset(places[:at_most])

    @staticmethod
    def is_off(number: int, places: frozenset[int]) -> bool:
        """Whether the number is among those whose sums differ."""
        return number % _SUMS in places


def faults_of_ends(there: Iterable[int], used: Mapping[int, int]) -> Iterator[Violation]:
    """Events that are there, and how often each is the newest or the one before another."""
    for number in sorted(there):
        times = used.get(number, 0)
        if times == 0:
            says = f"event {number} is the newest of no enrollment, and no other follows it"
            yield Violation(Fault.FOLD_LOOSE, says, About(event_id=number))
        elif times > 1:
            says = f"event {number} is followed by {times}, of which each says it is the next"
            yield Violation(Fault.FOLD_SHARED, says, About(event_id=number))
