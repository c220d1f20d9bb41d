"""The channels of the relay: how events are rendered for each, and where they go."""

import socket
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import orjson
import structlog
from sqlalchemy.orm import Session

from enrollment.domain.codes import ChangeKind
from enrollment.domain.events import RecordedEvent
from enrollment.runtime.circuit_breaker import Dependency
from enrollment.storage.outbox.event_subjects import find_subjects
from enrollment.storage.outbox.installation import installation_id
from enrollment.storage.outbox.relay_positions import ChannelName
from schemas.events import dump_event, event_source
from schemas.openedx_events.enrollments import (
    CHANGED,
    CREATED,
    UNENROLLMENT_COMPLETED,
    EnrollmentSubject,
    dump_fields,
    event_type,
)
from worker.relay.streams import StreamAppender, StreamEntry

log = structlog.get_logger()

#: About how many entries a stream of the event bus keeps (Open edX: `event-bus-redis`).
EVENT_BUS_LENGTH = 10_000


class Channel(Protocol):
    """A way out for events; used by one thread."""

    @property
    def name(self) -> ChannelName:
        """The name under which the position is stored."""

    @property
    def dependency(self) -> Dependency:
        """The service that it publishes to."""

    def render(self, session: Session, events: Sequence[RecordedEvent]) -> list[StreamEntry]:
        """Returns the entries of events, in their order."""

    def publish(self, entries: Sequence[StreamEntry]) -> None:
        """Publishes entries. Raises RedisError or OSError; they may be published all the same."""


class EventStreamChannel:
    """The Redis stream of CloudEvents: one entry for each event, in the field `event`."""

    name = ChannelName.EVENT_STREAM
    dependency = Dependency.EVENT_STREAM

    def __init__(self, url: str, key: str, *, length: int) -> None:
        self._appender = StreamAppender(url)
        self._key = key
        self._length = length

    def render(self, session: Session, events: Sequence[RecordedEvent]) -> list[StreamEntry]:
        """Returns one entry for each event."""
        source = event_source(installation_id(session))
        return [
            StreamEntry(
                self._key, {"event": orjson.dumps(dump_event(each, source=source))}, self._length
            )
            for each in events
        ]

    def publish(self, entries: Sequence[StreamEntry]) -> None:
        """Appends the entries to the stream."""
        self._appender.append(entries)


class Topics(NamedTuple):
    """The topics of the event bus, and their prefix, which may be empty."""

    prefix: str
    created: str
    changed: str
    unenrollment: str


class EventBusChannel:
    """The event bus of Open edX on Redis: the stream of an event is the topic of its type."""

    name = ChannelName.EVENT_BUS
    dependency = Dependency.EVENT_BUS

    def __init__(self, url: str, topics: Topics) -> None:
        self._appender = StreamAppender(url)
        self._host = socket.gethostname()
        self._keys = {
            CREATED: stream_key(topics.prefix, topics.created),
            CHANGED: stream_key(topics.prefix, topics.changed),
            UNENROLLMENT_COMPLETED: stream_key(topics.prefix, topics.unenrollment),
        }

    def render(self, session: Session, events: Sequence[RecordedEvent]) -> list[StreamEntry]:
        """Returns one entry for each event that the LMS does not have from itself.

        Learner and course are as they are now.
        """
        events = [each for each in events if each.kind is not ChangeKind.IMPORTED]
        source = event_source(installation_id(session))
        found = find_subjects(session, ((each.username, each.course_id) for each in events))
        entries = []
        for event in events:
            stored = found.get((event.username, event.course_id))
            if stored is None:  # its enrollment is gone, which no part of the service does
                log.error("event_bus.event_without_enrollment", position=event.position)
                continue
            subject = EnrollmentSubject._make(stored)
            fields = dump_fields(event, subject, source=source, host=self._host)
            entries.append(StreamEntry(self._keys[event_type(event)], fields, EVENT_BUS_LENGTH))
        return entries

    def publish(self, entries: Sequence[StreamEntry]) -> None:
        """Appends the entries to the streams of their topics."""
        self._appender.append(entries)


def stream_key(prefix: str, topic: str) -> str:
    """Returns the key of a topic's stream (Open edX: `event-bus-redis`)."""
    return f"{prefix}-{topic}" if prefix else topic
