"""Parses and renders endpoints and deliveries to them."""

from collections.abc import Callable
from typing import Annotated, Any, NotRequired, TypedDict

from marshmallow import ValidationError, validate

from enrollment.domain.rules import format_timestamp
from enrollment.domain.webhooks.messages import MESSAGE_TYPES, WebhookFilter
from enrollment.domain.webhooks.records import (
    Delivery,
    Webhook,
    WebhookMembers,
)
from schemas.destinations.receivers import (
    MAX_COURSE_FILTERS,
    MAX_RECEIVER_URL,
    AttemptJson,
    CourseFilter,
    dump_attempt,
    dump_moment,
)
from schemas.encoding.json_types import Count, Doc, Ordinal, Timestamp, Uuid
from schemas.fields import BoundedInteger, BoundedList, BoundedString, StrictSchema
from schemas.findings import DETAIL, ONE_OF_ERROR, Rule

#: Most messages that one request sends again.
MAX_RESENT = 10_000


class MessageType(BoundedString):
    """A type of message."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=40, **kwargs)
        self.validators = [validate.OneOf(MESSAGE_TYPES, error=ONE_OF_ERROR)]


class WebhookSchema(StrictSchema):
    """An endpoint: its URL, and filters, each of which is no condition if it is empty."""

    url = BoundedString(max_length=MAX_RECEIVER_URL, required=True)
    description = BoundedString(max_length=200, allow_none=True)
    types = BoundedList(MessageType(), max_items=MAX_COURSE_FILTERS)
    courses = BoundedList(CourseFilter(), max_items=MAX_COURSE_FILTERS)
    callers = BoundedList(BoundedString(max_length=255), max_items=MAX_COURSE_FILTERS)


class RangeSchema(StrictSchema):
    """Positions of the feed, both included."""

    first = BoundedInteger(minimum=1, required=True)
    last = BoundedInteger(minimum=1, required=True)


WEBHOOK_SCHEMA, RANGE_SCHEMA = WebhookSchema(), RangeSchema()


class WebhookJson(TypedDict):
    """An endpoint of another system."""

    id: Uuid
    url: str
    description: str | None
    types: Annotated[list[str], Doc("Only these types of messages; empty: all.")]
    courses: Annotated[list[str], Doc("Only these courses, or `org+*`; empty: all.")]
    callers: Annotated[list[str], Doc("Only what these callers caused; empty: all.")]
    enabled: bool
    disabled_reason: Annotated[
        str | None,
        Doc("`operator`, `gone` after a 410, or `unverified` until it answers the challenge."),
    ]
    disabled_at: Timestamp | None
    failures: Annotated[Count, Doc("Failed attempts since the last success.")]
    created: Timestamp
    created_by: Annotated[str | None, Doc("The caller that added it.")]
    previous_secret_until: Timestamp | None
    secret: NotRequired[Annotated[str, Doc("Shown when it is made, and never again.")]]


class WebhooksJson(TypedDict):
    """All endpoints, oldest first."""

    webhooks: list[WebhookJson]


class DeliveryJson(AttemptJson):
    """A message for an endpoint, with its last attempt."""

    id: Ordinal
    message_id: Annotated[Uuid, Doc("`webhook-id`, the same in every attempt.")]
    type: str
    position: Annotated[Ordinal | None, Doc("The position in the change feed.")]


class DeliveriesJson(TypedDict):
    """Deliveries, newest first; `next` is the cursor of the next page."""

    deliveries: list[DeliveryJson]
    next: str | None


def load_webhook(data: object, *, check_url: Callable[[str], object]) -> WebhookMembers:
    """Parses an endpoint; `check_url` raises ValueError for a URL that is not allowed.

    Raises marshmallow's ValidationError, with rules as messages.
    """
    members: Any = WEBHOOK_SCHEMA.load(data)  # type: ignore[arg-type]
    try:
        check_url(members["url"])
    except ValueError as error:
        raise ValidationError({"url": [f"{Rule.DESTINATION}{DETAIL}{error}"]}) from error
    lists = (frozenset(members.get(name, ())) for name in ("types", "courses", "callers"))
    return WebhookMembers(members["url"], members.get("description"), WebhookFilter(*lists))


def load_range(data: object) -> tuple[int, int]:
    """Parses a range of positions. Raises marshmallow's ValidationError, with rules as messages."""
    members: Any = RANGE_SCHEMA.load(data)  # type: ignore[arg-type]
    first, last = members["first"], members["last"]
    if not first <= last < first + MAX_RESENT:
        detail = f"first or more, and at most {MAX_RESENT} positions"
        raise ValidationError({"last": [f"{Rule.RANGE}{DETAIL}{detail}"]})
    return first, last


def dump_webhook(webhook: Webhook, *, secret: str | None = None) -> WebhookJson:
    """Renders an endpoint; `secret` is a new one, to be shown once."""
    rendered: WebhookJson = {
        "id": str(webhook.id),
        "url": webhook.url,
        "description": webhook.description,
        "types": sorted(webhook.filter.types),
        "courses": sorted(webhook.filter.courses),
        "callers": sorted(webhook.filter.callers),
        "enabled": webhook.is_enabled,
        "disabled_reason": webhook.disabled_reason,
        "disabled_at": dump_moment(webhook.disabled_at),
        "failures": webhook.failures,
        "created": format_timestamp(webhook.created),
        "created_by": webhook.caller,
        "previous_secret_until": dump_moment(webhook.previous_until),
    }
    if secret is not None:
        rendered["secret"] = secret
    return rendered


def dump_delivery(delivery: Delivery) -> DeliveryJson:
    """Renders a delivery."""
    return {
        "id": delivery.id,
        "message_id": str(delivery.message_id),
        "type": delivery.type,
        "position": delivery.position,
        **dump_attempt(delivery),
    }
