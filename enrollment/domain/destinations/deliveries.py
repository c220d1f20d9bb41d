"""Deliveries to destinations: states to be sent, and results of attempts."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from enrollment.domain.codes import DeliveryState
from enrollment.domain.destinations.records import Destination

#: The kinds of destinations.
DESTINATION_KINDS = ("openedx",)
#: Seconds after an attempt that was given up in which no state of its enrollment is sent: the
#: destination may still be applying that request, which must not come after a later one. A later
#: change waits no longer than that.
SETTLE_SECONDS = 30


class StoredDestination(NamedTuple):
    """A destination as it is stored."""

    id: UUID
    destination: Destination
    #: Encrypted.
    auth: str
    created: datetime
    since: int
    failures: int
    not_before: datetime | None


class QueuedState(NamedTuple):
    """An enrollment whose current state is to be sent."""

    course_id: str
    username: str
    #: Position in the feed of its last change.
    position: int
    is_forced: bool


class StateDelivery(NamedTuple):
    """One enrollment in the log of a destination, with its last attempt."""

    id: int
    course_id: str
    username: str
    position: int
    version: int
    is_forced: bool
    arrived_position: int | None
    state: DeliveryState
    attempts: int
    created: datetime
    next_attempt_at: datetime | None
    attempted_at: datetime | None
    status: int | None
    answer: str | None
    error: str | None


class SentState(NamedTuple):
    """The result of an attempt: the new state of the delivery, if it is still at that version."""

    delivery_id: int
    version: int
    position: int
    state: DeliveryState
    attempted_at: datetime
    next_attempt_at: datetime | None
    status: int | None
    answer: str | None
    error: str | None


class Arrival(NamedTuple):
    """Whether the current state of an enrollment has arrived in a destination."""

    course_id: str
    username: str
    destination: str
    #: Position in the feed of the change that is to arrive, or has arrived.
    position: int
    state: DeliveryState
    attempted_at: datetime | None

    def for_change(self, position: int) -> "Arrival":
        """Returns this for a change of the enrollment: one that is not queued yet is pending."""
        return self if self.position >= position else self._replace(state=DeliveryState.PENDING)


class DestinationBacklog(NamedTuple):
    """The number of deliveries of a destination that wait or have failed."""

    name: str
    is_paused: bool
    pending: int
    #: Since when the oldest waits.
    oldest: datetime | None
    failed: int
