"""Renders events in structured CloudEvents 1.0 JSON."""

from typing import Annotated, Literal, NotRequired, TypedDict
from uuid import UUID, uuid5

from enrollment.domain.codes import ChangeKind
from enrollment.domain.events import RecordedEvent, StoredState
from enrollment.domain.rules import format_timestamp
from schemas.destinations.deliveries import ArrivalJson
from schemas.encoding.json_types import Count, Doc, OneOf, Ordinal, Timestamp, Uuid
from schemas.submissions import caller_name

_SOURCE_PREFIX = "/api/enrollment/v1/installations"


class EventDataJson(TypedDict):
    """The change, and the request that caused it."""

    position: Annotated[Ordinal, Doc("The position in the change feed.")]
    user: str
    course_id: str
    before: StoredState | None
    after: StoredState
    submission_id: Uuid
    line: Ordinal
    caller: str
    reason: str | None
    request_id: Annotated[
        str | None,
        Doc("The X-Request-ID of the request that caused it, as long as its submission is kept."),
    ]


class EventJson(TypedDict):
    """One change of one enrollment (CloudEvents 1.0)."""

    specversion: Literal["1.0"]
    id: Uuid
    source: Annotated[str, Doc("Names the installation.")]
    type: Annotated[str, OneOf(tuple(f"enrollment.{kind.value}" for kind in ChangeKind))]
    subject: Annotated[str, Doc("course_id/username")]
    time: Timestamp
    datacontenttype: str
    data: EventDataJson


class ChangesJson(TypedDict):
    """Events after a position; `next` is the position to continue from."""

    changes: list[EventJson]
    next: Count


class HistoryJson(TypedDict):
    """The events of one enrollment, oldest first."""

    events: list[EventJson]
    truncated: NotRequired[Annotated[Literal[True], Doc("Older events are in the feed only.")]]
    destinations: NotRequired[
        Annotated[list[ArrivalJson], Doc("Whether the last change has arrived; only with any.")]
    ]


def event_source(installation_id: UUID) -> str:
    """Returns the `source` of every event of an installation, on every way out."""
    return f"{_SOURCE_PREFIX}/{installation_id}"


def public_event_id(event: RecordedEvent) -> UUID:
    """Returns the id of an event outside of the database.

    A UUIDv5 of the submission's id and the event's number: equal in every delivery, and different
    in every installation.
    """
    return uuid5(event.submission_id, str(event.id))


def dump_event(event: RecordedEvent, *, source: str) -> EventJson:
    """Renders an event; `source` is that of the installation."""
    return {
        "specversion": "1.0",
        "id": str(public_event_id(event)),
        "source": source,
        "type": f"enrollment.{event.kind.value}",
        "subject": f"{event.course_id}/{event.username}",
        "time": format_timestamp(event.at),
        "datacontenttype": "application/json",
        "data": {
            "position": event.position,
            "user": event.username,
            "course_id": event.course_id,
            "before": event.before,
            "after": event.after,
            "submission_id": str(event.submission_id),
            "line": event.line,
            "caller": caller_name(event.caller),
            "reason": None,
            "request_id": event.request_id,
        },
    }
