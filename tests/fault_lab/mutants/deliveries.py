"""Mutants of what leaves the service and comes in by messages: relay, consumer, replies."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

from celery.exceptions import Reject

from enrollment.storage.replies import owed_replies
from schemas import events
from schemas.openedx_events import enrollments
from tests.fault_lab.mutants.registry import (
    delivery_mutant,
    delivery_mutant_that_shows,
    while_points_raise,
    while_servers_are_away,
)
from tests.fault_lab.simulator.environment import patched
from worker.inbound import reply_sender, submit_task
from worker.inbound.intake import InboundIntake
from worker.inbound.messages import internal_error
from worker.inbound.stream_consumer import StreamConsumer
from worker.inbound.verdicts import Accepted
from worker.relay.relay import Relay


@delivery_mutant
def relay_skips_event() -> Iterator[None]:
    """The relay leaves out the first event of a portion that has several."""
    real = Relay._read

    def read(self: Relay) -> Any:
        portion = real(self)
        return portion._replace(entries=portion.entries[portion.events > 1 :])

    with patched(Relay, "_read", read):
        yield


@delivery_mutant
def relay_position_stored_before_publishing() -> Iterator[None]:
    """The relay stores its position before it publishes."""
    publish, store = Relay._publish, Relay._store

    def store_and_publish(self: Relay, portion: Any) -> bool:
        return store(self, portion) and publish(self, portion)

    with (
        patched(Relay, "_publish", store_and_publish),
        patched(Relay, "_store", lambda self, portion: True),
    ):
        yield


@delivery_mutant
def relay_publishes_newest_first() -> Iterator[None]:
    """The relay publishes the events of a portion in the reverse order."""
    real = Relay._publish

    def publish(self: Relay, portion: Any) -> bool:
        return real(self, portion._replace(entries=portion.entries[::-1]))

    with patched(Relay, "_publish", publish):
        yield


@delivery_mutant
def new_id_for_each_delivery() -> Iterator[None]:
    """An event gets another id whenever it is published."""
    with (
        patched(events, "public_event_id", lambda event: uuid4()),
        patched(enrollments, "public_event_id", lambda event: uuid4()),
    ):
        yield


@delivery_mutant
def entry_acknowledged_before_commit() -> Iterator[None]:
    """The consumer acknowledges entries before their submissions are stored."""
    real = StreamConsumer._store

    def store(self: StreamConsumer, entries: Sequence[Any]) -> None:
        self._acknowledge([_Read(entry) for entry in entries], [_STORED] * len(entries))  # type: ignore[misc]
        real(self, entries)

    with patched(StreamConsumer, "_store", store):
        yield


class _Read:
    """An entry, with the interface that the acknowledgement expects."""

    def __init__(self, entry: Any) -> None:
        self.entry = entry


#: The verdict on an entry that is to be acknowledged.
_STORED = Accepted(uuid4())


@delivery_mutant
def outcomes_of_list_reversed() -> Iterator[None]:
    """A reply has the outcomes of a list in the reverse order."""
    real = reply_sender._outcomes_of_list

    def outcomes(session: Any, submission: Any) -> list[Any]:
        return real(session, submission)[::-1]

    with patched(reply_sender, "_outcomes_of_list", outcomes):
        yield


@delivery_mutant_that_shows(while_servers_are_away)
def reply_settled_before_sent() -> Iterator[None]:
    """A reply no longer counts as owed before it is sent."""
    real = reply_sender.ReplySender._send

    def send(self: Any, due: Sequence[Any]) -> int:
        with self.sessions.begin() as session:
            owed_replies.delete(session, [reply.id for reply in due])
        return real(self, due)

    with patched(reply_sender.ReplySender, "_send", send):
        yield


@delivery_mutant_that_shows(while_points_raise)
def stored_message_refused_as_well() -> Iterator[None]:
    """A message that failed again and again is refused, also if it failed after its commit."""
    with patched(InboundIntake, "_verdict_of_failure", lambda *_: internal_error()):
        yield


@delivery_mutant_that_shows(while_points_raise)
def failed_message_counts_as_stored() -> Iterator[None]:
    """A message that failed alone is acknowledged as if it were stored."""
    with patched(InboundIntake, "_store_again", lambda _, __, group: dict.fromkeys(group, _STORED)):
        yield


@delivery_mutant_that_shows(while_servers_are_away)
def failed_call_dropped() -> Iterator[None]:
    """A call that cannot be put on the queue again is dropped."""

    def drop(reason: str, *, requeue: bool) -> Reject:
        return Reject(reason, requeue=not requeue)

    with patched(submit_task, "Reject", drop):
        yield
