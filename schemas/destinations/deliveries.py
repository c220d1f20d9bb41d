"""Renders deliveries to destinations, and whether states have arrived there."""

from typing import Annotated, TypedDict

from enrollment.domain.codes import DeliveryState
from enrollment.domain.destinations.deliveries import Arrival, DestinationBacklog, StateDelivery
from schemas.destinations.receivers import AttemptJson, dump_attempt, dump_moment
from schemas.encoding.json_types import Count, Doc, OneOf, Ordinal, Timestamp


class StateDeliveryJson(AttemptJson):
    """An enrollment whose state is sent to a destination, with its last attempt."""

    id: Ordinal
    user: str
    course_id: str
    position: Annotated[Count, Doc("The position of its last change in the change feed.")]
    arrived_position: Annotated[Count | None, Doc("The position of the last one that arrived.")]
    forced: Annotated[bool, Doc("A change that has not arrived was forced.")]


class StateDeliveriesJson(TypedDict):
    """Deliveries, newest first; `next` is the cursor of the next page."""

    deliveries: list[StateDeliveryJson]
    next: str | None


class ArrivalJson(TypedDict):
    """Whether the state of an enrollment has arrived in a destination."""

    destination: str
    state: Annotated[str, OneOf(tuple(DeliveryState))]
    attempted_at: Timestamp | None


class BacklogJson(TypedDict):
    """The deliveries of a destination that wait or have failed."""

    name: str
    paused: bool
    pending: Count
    oldest_pending: Annotated[Timestamp | None, Doc("Since when the oldest waits.")]
    failed: Count


def dump_state_delivery(delivery: StateDelivery) -> StateDeliveryJson:
    """Renders a delivery."""
    return {
        "id": delivery.id,
        "user": delivery.username,
        "course_id": delivery.course_id,
        "position": delivery.position,
        "arrived_position": delivery.arrived_position,
        "forced": delivery.is_forced,
        **dump_attempt(delivery),
    }


def dump_arrival(arrival: Arrival) -> ArrivalJson:
    """Renders whether a state has arrived."""
    return {
        "destination": arrival.destination,
        "state": arrival.state.value,
        "attempted_at": dump_moment(arrival.attempted_at),
    }


def dump_backlog(backlog: DestinationBacklog) -> BacklogJson:
    """Renders the backlog of a destination."""
    return {
        "name": backlog.name,
        "paused": backlog.is_paused,
        "pending": backlog.pending,
        "oldest_pending": dump_moment(backlog.oldest),
        "failed": backlog.failed,
    }
