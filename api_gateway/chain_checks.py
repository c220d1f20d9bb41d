"""Verifying the feed and what it comes to: chains of events, enrollments, seats."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy.orm import Session

from api_gateway.reports import Progress, Report
from api_gateway.timelines import UNREADABLE
from enrollment.domain.accounts import Owned, faults_of_pairs
from enrollment.domain.auditing import About, Fault, Violation
from enrollment.domain.chains import (
    Balance,
    KeptEvent,
    faults_of_ends,
    faults_of_enrollment,
    faults_of_event,
    is_chained,
    is_folded,
)
from enrollment.domain.events import KINDS
from enrollment.domain.seating import Seats
from enrollment.storage import audit
from enrollment.storage.audit import Span
from enrollment.storage.event_ids import event_id
from schemas.outcomes import decode_outcomes

#: Stands where a place in a batch of singles is nobody's.
_NOBODY = "0" * 32
#: Sums of a balance that are looked into.
SUMS = 1_000


class Chains:
    """Events in the order of the feed, then the enrollments that they come to."""

    def __init__(self, session: Session, report: Report, progress: Progress, seats: Seats) -> None:
        self._session = session
        self._report = report
        self._progress = progress
        self._seats = seats
        #: Every event is the newest of one enrollment or the one before one other.
        self._balance = Balance()

    def check_feed(self, end: int | None) -> None:
        """Every event at its place, in its chain, and behind its outcome."""
        position = 0
        for some in audit.spans(self._session):
            events = audit.events(self._session, some)
            owners = audit.owners(self._session, some)
            for span in some:
                its_events = events.get(span.batch_id, [])
                self._report.add(_faults_of_span(span, position, its_events))
                self._check_events(its_events)
                self._report.add(_faults_of_pairs(span, its_events, owners.get(span.batch_id)))
                position = span.last
                self._progress.add(len(its_events))
        if end != position:
            says = f"the feed says that it ends at {end}, but its last place is {position}"
            self._report.add([Violation(Fault.FEED_HEAD, says)])
        self._check_outside()

    def _check_events(self, events: Sequence[KeptEvent]) -> None:
        balance, seats = self._balance, self._seats
        for event in events:
            balance.add(event.id)
            if event.previous_id is not None:
                balance.take(event.previous_id)
            if not is_chained(event):
                self._report.add(faults_of_event(event))
            exceeded = seats.step(event)
            if exceeded is not None:
                self._report.add([exceeded])
        self._report.checked["events"] += len(events)

    def _check_outside(self) -> None:
        """Events whose batch has no place in the feed are looked for only if there are any."""
        if audit.count_events(self._session) == self._report.checked["events"]:
            return
        for number, _, is_in_feed in audit.event_ids(self._session):
            if not is_in_feed:
                says = f"event {number} has no place in the feed"
                self._report.add([Violation(Fault.FEED_OUTSIDE, says, About(event_id=number))])

    def check_enrollments(self) -> None:
        """Every enrollment as its newest event has it, and every seat."""
        active: Counter[int] = Counter()
        for page in audit.enrollments(self._session):
            for kept in page:
                self._balance.take(kept.event_id)
                active[kept.course_row] += kept.standing.is_active
                if not is_folded(kept):
                    self._report.add(faults_of_enrollment(kept))
            self._report.checked["enrollments"] += len(page)
            self._progress.add(len(page))
        self._check_seats(active)
        self._check_balance()

    def _check_seats(self, active: Mapping[int, int]) -> None:
        for course in audit.courses(self._session):
            self._report.checked["courses"] += 1
            wrong = self._seats.end(course, active.get(course.row, 0))
            if wrong is not None:
                self._report.add([wrong])
            if course.capacity is not None and course.seats_taken > course.capacity:
                taken = f"{course.seats_taken} of {course.capacity} seats"
                self._report.notes.append(f"{course.course_id} has {taken} taken")
        self._report.add(self._seats.left())

    def _check_balance(self) -> None:
        """Which events lead nowhere or to two is looked for only if there are any."""
        places = self._balance.off(SUMS)
        if not places:
            return
        if len(places) == SUMS:
            self._report.notes.append("so many chains are broken that not all are told")
        there: set[int] = set()
        used: Counter[int] = Counter()
        for number, previous, _ in audit.event_ids(self._session):
            if Balance.is_off(number, places):
                there.add(number)
            if previous is not None and Balance.is_off(previous, places):
                used[previous] += 1
        for page in audit.enrollments(self._session):
            used.update(kept.event_id for kept in page if Balance.is_off(kept.event_id, places))
        self._report.add(faults_of_ends(there, used))


def _faults_of_span(span: Span, position: int, events: Sequence[KeptEvent]) -> Iterator[Violation]:
    this, about = f"batch {span.batch_id}", About(span.batch_id)
    if span.first != position + 1 or span.last < span.first:
        says = f"{this} has the places {span.first} to {span.last} of the feed after {position}"
        yield Violation(Fault.FEED_GAP, says, about)
    first = event_id(span.batch_id, 0)
    gap = next((n for n, event in enumerate(events) if event.id != first + n), len(events))
    if not gap == len(events) == span.events:
        says = f"{this} has {span.events} places in the feed, and {len(events)} events"
        yield Violation(Fault.FEED_SPAN, says, about._replace(event_id=first + gap))


def _faults_of_pairs(
    span: Span, events: Sequence[KeptEvent], owners: Mapping[int, str] | None
) -> Iterator[Violation]:
    """Nothing can be said where the batch is not kept any more, or cannot be read."""
    if not span.is_kept:
        return
    try:
        outcomes = decode_outcomes(span.outcomes) if span.outcomes else []
    except UNREADABLE:
        return
    of_all, of_each = span.submission, owners or {}
    changes: list[Owned] = [
        (of_all or of_each.get(place, _NOBODY), outcome)
        for place, outcome in enumerate(outcomes)
        if outcome.code in KINDS
    ]
    yield from faults_of_pairs(span.batch_id, events, changes)
