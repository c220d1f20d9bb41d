"""Renders the bodies of messages: those about events from the feed, a few queries for many."""

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy.orm import Session

from enrollment.domain.events import RecordedEvent
from enrollment.domain.webhooks.records import Delivery
from enrollment.storage.events import events_after
from enrollment.storage.outbox.installation import installation_id
from schemas.events import event_source
from schemas.webhooks.messages import render_event

#: Events between two that are wanted, up to which they are read with them.
_MAX_GAP = 50


def render_bodies(session: Session, deliveries: Iterable[Delivery]) -> dict[int, bytes]:
    """Returns the body of each delivery by its id, the same bytes in every attempt.

    One whose event is not in the feed any more has none.
    """
    bodies: dict[int, bytes] = {}
    by_position: dict[int, int] = {}
    for delivery in deliveries:
        if delivery.position is None:
            bodies[delivery.id] = (delivery.body or "").encode()
        else:
            by_position[delivery.position] = delivery.id
    if not by_position:
        return bodies
    source = event_source(installation_id(session))
    for event in _events_at(session, sorted(by_position)):
        found = by_position.get(event.position)
        if found is not None:
            bodies[found] = render_event(event, source=source)
    return bodies


def _events_at(session: Session, positions: Sequence[int]) -> Iterator[RecordedEvent]:
    """Yields the events at positions in rising order, and some between them."""
    first = last = positions[0]
    for position in positions[1:]:
        if position - last > _MAX_GAP:
            yield from events_after(session, first - 1, limit=last - first + 1)
            first = position
        last = position
    yield from events_after(session, first - 1, limit=last - first + 1)
