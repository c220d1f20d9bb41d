"""Stored webhooks: endpoints, deliveries, results of attempts, and submissions that are done."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from enrollment.domain.codes import DeliveryState
from enrollment.domain.webhooks.messages import WebhookFilter


class Webhook(NamedTuple):
    """An endpoint; its secrets are encrypted."""

    id: UUID
    url: str
    description: str | None
    filter: WebhookFilter
    secret: str
    #: Signs as well until `previous_until`.
    previous_secret: str | None
    previous_until: datetime | None
    created: datetime
    disabled_reason: str | None
    disabled_at: datetime | None
    since: int
    failures: int
    #: The one that added it; None if that was not stored then.
    caller: str | None

    @property
    def is_enabled(self) -> bool:
        """Whether messages are sent to it."""
        return self.disabled_reason is None


class WebhookMembers(NamedTuple):
    """The part of an endpoint that its owner states."""

    url: str
    description: str | None
    filter: WebhookFilter


class Delivery(NamedTuple):
    """A message for an endpoint, with its last attempt."""

    id: int
    message_id: UUID
    type: str
    position: int | None
    body: str | None
    state: DeliveryState
    attempts: int
    created: datetime
    next_attempt_at: datetime | None
    attempted_at: datetime | None
    status: int | None
    answer: str | None
    error: str | None


class AttemptResult(NamedTuple):
    """The result of an attempt: the new state of its delivery."""

    delivery_id: int
    state: DeliveryState
    attempted_at: datetime
    next_attempt_at: datetime | None
    status: int | None
    answer: str | None
    error: str | None


class DoneSubmission(NamedTuple):
    """A submission that is done."""

    id: UUID
    caller: str
    total: int
    #: Outcomes by code; None for a single request.
    tally: dict[str, object] | None
    #: The id of the HTTP request with which it came.
    request_id: str | None
    finished_at: datetime
