"""Fields, and parts of deliveries, that webhooks and destinations share."""

from datetime import datetime
from typing import Annotated, Any, TypedDict

from marshmallow import ValidationError

from enrollment.domain.codes import DeliveryState
from enrollment.domain.course_keys import MAX_COURSE_ID, is_course_filter
from enrollment.domain.destinations.deliveries import StateDelivery
from enrollment.domain.rules import format_timestamp
from enrollment.domain.webhooks.records import Delivery
from schemas.encoding.json_types import Count, Doc, OneOf, Timestamp
from schemas.fields import BoundedString

#: Longest URL of a receiver.
MAX_RECEIVER_URL = 2_000
#: Most values of one filter.
MAX_COURSE_FILTERS = 100


class CourseFilter(BoundedString):
    """A course key, or `org+*`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_COURSE_ID, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not is_course_filter(text):
            raise ValidationError("course_key")
        return text


class AttemptJson(TypedDict):
    """The state of a delivery, and its last attempt."""

    state: Annotated[str, OneOf(tuple(DeliveryState))]
    attempts: Annotated[Count, Doc("Attempts since it was queued, or queued again.")]
    created: Annotated[Timestamp, Doc("Since when it waits, or waited.")]
    next_attempt_at: Timestamp | None
    attempted_at: Timestamp | None
    status: Annotated[Count | None, Doc("The status of the last answer.")]
    answer: Annotated[str | None, Doc("The first bytes of the last answer.")]
    error: Annotated[str | None, Doc("Why there was no answer, or why it was no success.")]


class QueuedJson(TypedDict):
    """The number of deliveries that are made again."""

    queued: Count


def dump_attempt(delivery: Delivery | StateDelivery) -> AttemptJson:
    """Renders the state of a delivery."""
    return {
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "created": format_timestamp(delivery.created),
        "next_attempt_at": dump_moment(delivery.next_attempt_at),
        "attempted_at": dump_moment(delivery.attempted_at),
        "status": delivery.status,
        "answer": delivery.answer,
        "error": delivery.error,
    }


def dump_moment(moment: datetime | None) -> str | None:
    """Renders a time that may be none."""
    return None if moment is None else format_timestamp(moment)
