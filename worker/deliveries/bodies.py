"""Renders the bodies of messages: those about events from the feed, a few queries for many."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from enrollment.domain.webhooks.records import Delivery
from enrollment.storage.outbox.installation import installation_id
from enrollment.storage.views.feed_positions import events_at
from schemas.events import event_source
from schemas.webhooks.messages import render_event


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
    for event in events_at(session, sorted(by_position)):
        found = by_position.get(event.position)
        if found is not None:
            bodies[found] = render_event(event, source=source)
    return bodies
