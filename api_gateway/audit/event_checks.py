"""Audit of events: their positions in the feed, their chains, enrollments and seats."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy.orm import Session

from api_gateway.audit.report import Report
from api_gateway.audit.timeline import decode_or_none
from enrollment.domain.audit.event_chain import (
    EventRecord,
    MultisetHash,
    check_enrollment,
    check_event,
    check_successors,
)
from enrollment.domain.audit.outcomes import check_pairs
from enrollment.domain.audit.seats import SeatReplay
from enrollment.domain.audit.violations import Violation, ViolationKind, ViolationSubject
from enrollment.domain.events import CHANGE_KIND_BY_CODE
from enrollment.storage.audit import events as audit_events
from enrollment.storage.audit.events import FeedSpan
from enrollment.storage.event_ids import event_id

#: Stands for the submission of a position in a batch of singles that has none.
_NO_SUBMISSION = "0" * 32
#: Buckets of the multiset hash whose events are read again.
MAX_BUCKETS = 1_000


class EventChecks:
    """Checks the events in the order of the feed, then the enrollments that they add up to."""

    def __init__(self, session: Session, report: Report, seats: SeatReplay) -> None:
        self._session = session
        self._report = report
        self._seats = seats
        #: Every event is either the newest of one enrollment or the previous one of one event.
        self._balance = MultisetHash()

    def check_feed(self, head: int | None) -> None:
        """Checks that each event has its position in the feed, its chain and its outcome."""
        position = 0
        for spans in audit_events.iterate_spans(self._session):
            events_by_batch = audit_events.load_events(self._session, spans)
            owners = audit_events.load_owners(self._session, spans)
            for span in spans:
                events = events_by_batch.get(span.batch_id, [])
                self._report.add(_check_span(span, position, events))
                self._check_events(events)
                self._report.add(_check_outcomes(span, events, owners.get(span.batch_id, {})))
                position = span.last
        if head != position:
            message = f"the feed's counter is at {head}, but its last position is {position}"
            self._report.add([Violation(ViolationKind.FEED_HEAD, message)])
        self._check_outside()

    def _check_events(self, events: Sequence[EventRecord]) -> None:
        self._balance.add(event.id for event in events)
        self._balance.remove(event.previous_id for event in events if event.previous_id is not None)
        for event in events:
            self._report.add(check_event(event))
            if (violation := self._seats.check_event(event)) is not None:
                self._report.add([violation])
        self._report.count("events", len(events))

    def _check_outside(self) -> None:
        """Finds events whose batch has no position in the feed; only if counts differ."""
        if audit_events.count_events(self._session) == self._report.checked["events"]:
            return
        for number, _, is_in_feed in audit_events.iterate_event_ids(self._session):
            if not is_in_feed:
                message, about = (
                    f"event {number} is not in the feed",
                    ViolationSubject(event_id=number),
                )
                self._report.add([Violation(ViolationKind.FEED_OUTSIDE, message, about)])

    def check_enrollments(self) -> None:
        """Checks that each enrollment is what its newest event says, and counts the seats."""
        active: Counter[int] = Counter()
        for page in audit_events.iterate_enrollments(self._session):
            self._balance.remove(record.event_id for record in page)
            for record in page:
                active[record.course_row] += record.state.is_active
                self._report.add(check_enrollment(record))
            self._report.count("enrollments", len(page))
        self._check_seats(active)
        self._check_successors()

    def _check_seats(self, active: Mapping[int, int]) -> None:
        for course in audit_events.iterate_courses(self._session):
            self._report.count("courses")
            self._report.add(self._seats.check_course(course, active.get(course.row, 0)))
            if course.capacity is not None and course.seats_taken > course.capacity:
                taken = f"{course.seats_taken} of {course.capacity} seats"
                self._report.notes.append(f"{course.course_id} has {taken} taken")
        self._report.add(self._seats.check_rest())

    def _check_successors(self) -> None:
        """Finds events with no successor or several; only if the multisets of ids differ."""
        buckets = self._balance.differing(MAX_BUCKETS)
        if not buckets:
            return
        if len(buckets) == MAX_BUCKETS:
            self._report.notes.append("so many chains are broken that not all are listed")

        def differs(number: int) -> bool:
            return number % MultisetHash.BUCKETS in buckets

        existing: set[int] = set()
        successors: Counter[int] = Counter()
        for number, previous, _ in audit_events.iterate_event_ids(self._session):
            if differs(number):
                existing.add(number)
            if previous is not None and differs(previous):
                successors[previous] += 1
        for page in audit_events.iterate_enrollments(self._session):
            successors.update(one.event_id for one in page if differs(one.event_id))
        self._report.add(check_successors(existing, successors))


def _check_span(
    span: FeedSpan, position: int, events: Sequence[EventRecord]
) -> Iterator[Violation]:
    batch, about = f"batch {span.batch_id}", ViolationSubject(span.batch_id)
    if span.first != position + 1 or span.last < span.first:
        message = f"{batch} has the positions {span.first} to {span.last} in the feed"
        yield Violation(ViolationKind.FEED_GAP, f"{message} after {position}", about)
    first = event_id(span.batch_id, 0)
    gap = next((n for n, event in enumerate(events) if event.id != first + n), len(events))
    if not gap == len(events) == span.events:
        message = f"{batch} has {span.events} positions in the feed, and {len(events)} events"
        about = about._replace(event_id=event_id(span.batch_id, gap))
        yield Violation(ViolationKind.FEED_SPAN, message, about)


def _check_outcomes(
    span: FeedSpan, events: Sequence[EventRecord], owners: Mapping[int, str]
) -> Iterator[Violation]:
    """Compares events and outcomes; a purged or unreadable batch cannot be compared."""
    outcomes = decode_or_none(span.outcomes) if span.outcomes else []
    if not span.is_stored or outcomes is None:
        return iter(())
    changes = [
        (span.submission or owners.get(position, _NO_SUBMISSION), outcome)
        for position, outcome in enumerate(outcomes)
        if outcome.code in CHANGE_KIND_BY_CODE
    ]
    return check_pairs(span.batch_id, events, changes)
