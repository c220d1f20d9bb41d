"""Events in the change feed, without the requests that cause them."""

import json
from datetime import UTC, datetime
from uuid import UUID

from enrollment.domain.codes import ChangeKind
from enrollment.storage import events as event_store
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.event_ids import event_id
from enrollment.storage.events import NewEvent
from tests.support.context_managers import at_once

_NOW = datetime(2026, 9, 1, tzinfo=UTC)
_KINDS = tuple(ChangeKind)


def append_batch(
    sessions: Sessions, batch_id: int, number: int, *, course_id: str = "course-v1:Uni+A+1"
) -> None:
    """Appends the events of a batch to the feed: of many kinds, each of another learner."""
    state = json.dumps({"mode": "audit", "is_active": True})
    events = [
        NewEvent(
            event_id(batch_id, n),
            None,
            _KINDS[n % len(_KINDS)],
            course_id,
            f"learner{n}",
            UUID(int=batch_id),
            n,
            "key:sis",
            None,
            state,
        )
        for n in range(number)
    ]
    with sessions.begin() as session:
        rendered = event_store.render_events(session, events, now=_NOW)
        at_once(event_store.append_pipelined(session, rendered))
        event_store.assign_positions(session, {batch_id: number})
