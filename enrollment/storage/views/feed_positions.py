"""Events at given positions of the feed."""

from collections.abc import Iterator, Sequence

from sqlalchemy.orm import Session

from enrollment.domain.events import RecordedEvent
from enrollment.storage.events import events_after

#: Events between two that are wanted, up to which they are read with them.
_MAX_GAP = 50


def events_at(session: Session, positions: Sequence[int]) -> Iterator[RecordedEvent]:
    """Yields the events at positions in rising order, and some between them."""
    if not positions:
        return
    first = last = positions[0]
    for position in positions[1:]:
        if position - last > _MAX_GAP:
            yield from events_after(session, first - 1, limit=last - first + 1)
            first = position
        last = position
    yield from events_after(session, first - 1, limit=last - first + 1)
