"""Queues the enrollments that the feed says were changed, for the destinations that have them."""

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy.orm import Session

from enrollment.domain.codes import ChangeKind
from enrollment.domain.course_keys import matches_course
from enrollment.domain.destinations.deliveries import QueuedState, StoredDestination
from enrollment.domain.events import RecordedEvent, import_caller
from enrollment.storage.destinations import deliveries, registry
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.events import events_after, last_position
from enrollment.storage.webhooks import positions
from worker.destinations.forced_changes import find_forced

#: Events that are read and queued by one transaction.
DESTINATION_EVENTS_PER_SLICE = 500


def read_changes(sessions: Sessions) -> int | None:
    """Queues the enrollments in the next slice of the feed; returns the number of events.

    0 at the end of the feed, None if another process reads it. Without destinations it goes to the
    end at once.
    """
    with sessions.read() as session:
        name = positions.DESTINATIONS
        read, end = positions.find_position(session, name), last_position(session)
    if read >= end:
        return 0
    with sessions.begin() as session:
        locked = positions.lock(session, positions.DESTINATIONS)
        if locked is None:
            return None
        destinations = registry.find_all(session)
        if not destinations:
            end = last_position(session)
            positions.advance(session, positions.DESTINATIONS, position=end)
            return 0
        limit = DESTINATION_EVENTS_PER_SLICE
        events = events_after(session, locked.position, limit=limit)
        queue_changes(session, destinations, events)
        return len(events)


def queue_changes(
    session: Session, destinations: Iterable[StoredDestination], events: Sequence[RecordedEvent]
) -> None:
    """Queues the enrollments of the next events, and stores that they were read.

    The caller holds the lock on the position.
    """
    if not events:
        return
    now = database_now(session)
    forced = find_forced(session, events)
    for stored in destinations:
        deliveries.queue(session, stored.id, _states(stored, events, forced), now=now)
    positions.advance(session, positions.DESTINATIONS, position=events[-1].position)


def _states(
    stored: StoredDestination, events: Iterable[RecordedEvent], forced: Collection[int]
) -> list[QueuedState]:
    """Returns each enrollment once, in the order of the keys: as rows are locked elsewhere."""
    states: dict[tuple[str, str], QueuedState] = {}
    for event in events:
        if _concerns(stored, event):
            key = event.course_id, event.username
            is_forced = event.id in forced or (key in states and states[key].is_forced)
            states[key] = QueuedState(*key, event.position, is_forced)
    return [states[key] for key in sorted(states)]


def _concerns(stored: StoredDestination, event: RecordedEvent) -> bool:
    name, courses = stored.destination.name, stored.destination.courses
    if event.kind is ChangeKind.IMPORTED and event.caller == import_caller(name):
        return False
    return event.position > stored.since and matches_course(courses, event.course_id)
