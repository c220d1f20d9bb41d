"""Audit of events: feed positions, event chains, enrollments and seats."""

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

#: Replaces the submission id if a position in a batch of singles has no submission.
_NO_SUBMISSION = "0" * 32
#: Maximum number of differing buckets of the multiset hash that are examined.
MAX_BUCKETS = 1_000


class EventChecks:
    """Checks the events in feed order, then enrollments and seats against them."""

    def __init__(self, session: Session, report: Report, seats: SeatReplay) -> None:
        self._session = session
        self._report = report
        self._seats = seats
        #: Events minus successors: each event is the newest of one enrollment, or the
        #: predecessor of one event.
        self._unmatched_ids = MultisetHash()

    def check_feed(self) -> None:
        """Checks feed positions, event chains and the outcomes of events."""
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
        self._check_unpositioned()

    def _check_events(self, events: Sequence[EventRecord]) -> None:
        self._unmatched_ids.add(event.id for event in events)
        self._unmatched_ids.remove(
            event.previous_id for event in events if event.previous_id is not None
        )
        for event in events:
            self._report.add(check_event(event))
            if (violation := self._seats.check_event(event)) is not None:
                self._report.add([violation])
        self._report.count("events", len(events))

    def _check_unpositioned(self) -> None:
        """Finds events of batches without a feed position; only if the counts differ."""
        if audit_events.count_events(self._session) == self._report.checked["events"]:
            return
        for number, _, is_in_feed in audit_events.iterate_event_ids(self._session):
            if not is_in_feed:
                message = f"event {number} is not in the feed"
                about = ViolationSubject(event_id=number)
                self._report.add([Violation(ViolationKind.FEED_OUTSIDE, message, about)])

    def check_enrollments(self) -> None:
        """Checks each enrollment against its newest event, then seats and event chains."""
        active: Counter[int] = Counter()
        for page in audit_events.iterate_enrollments(self._session):
            self._unmatched_ids.remove(record.event_id for record in page)
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
        """Finds events without or with several successors; only if the multiset hashes differ."""
        buckets = self._unmatched_ids.differing(MAX_BUCKETS)
        if not buckets:
            return
        if len(buckets) == MAX_BUCKETS:
            self._report.notes.append("too many event chains are broken to list all of them")

        def is_unmatched(number: int) -> bool:
            return number % MultisetHash.BUCKETS in buckets

        existing: set[int] = set()
        successors: Counter[int] = Counter()
        for number, previous, _ in audit_events.iterate_event_ids(self._session):
            if is_unmatched(number):
                existing.add(number)
            if previous is not None and is_unmatched(previous):
                successors[previous] += 1
        for page in audit_events.iterate_enrollments(self._session):
            successors.update(record.event_id for record in page if is_unmatched(record.event_id))
        self._report.add(check_successors(existing, successors))


def _check_span(
    span: FeedSpan, position: int, events: Sequence[EventRecord]
) -> Iterator[Violation]:
    """Checks that a batch follows `position` without a gap, with one event per position."""
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
    """Checks events against outcomes; skips a batch that was purged or cannot be decoded."""
    outcomes = decode_or_none(span.outcomes) if span.outcomes else []
    if not span.is_stored or outcomes is None:
        return iter(())
    changes = [
        (span.submission or owners.get(position, _NO_SUBMISSION), outcome)
        for position, outcome in enumerate(outcomes)
        if outcome.code in CHANGE_KIND_BY_CODE
    ]
    return check_pairs(span.batch_id, events, changes)
