"""Messages for webhooks, and the filters of endpoints."""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from enrollment.domain.codes import ChangeKind
from enrollment.domain.course_keys import parse_course_key

#: Type of the message about a submission that is done.
SUBMISSION_DONE = "submission.done"
#: Type of the message that asks a receiver whether it wants messages. Filters do not know it.
CHALLENGE = "webhook.challenge"
#: Every type of message that filters know.
MESSAGE_TYPES = (*(f"enrollment.{kind.value}" for kind in ChangeKind), SUBMISSION_DONE)
#: Ends a filter for all courses of an organization: `org+*`.
ANY_COURSE = "+*"


class DisabledReason(StrEnum):
    """Why no messages are sent to an endpoint."""

    OPERATOR = "operator"
    #: It answered 410.
    UNSUBSCRIBED = "gone"
    #: Its receiver has not answered the challenge yet.
    UNVERIFIED = "unverified"
    #: It does not exist any more for callers; a purge deletes it with its deliveries.
    REMOVED = "removed"


class DeliveryState(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    #: The last attempt failed, or the endpoint does not exist any more.
    FAILED = "failed"


class WebhookMessage(NamedTuple):
    """A message, before it is addressed to endpoints."""

    #: Constant over all deliveries.
    id: UUID
    type: str
    #: None for a submission.
    course_id: str | None
    #: As callers see it.
    caller: str
    #: Messages of one subject are delivered in order.
    subject: str
    #: Position in the feed; None for a submission.
    position: int | None
    #: The text to send, if it cannot be rendered from the feed.
    body: str | None = None


class WebhookFilter(NamedTuple):
    """The messages that an endpoint receives; an empty member is no condition."""

    types: frozenset[str] = frozenset()
    #: Course keys, and `org+*`.
    courses: frozenset[str] = frozenset()
    callers: frozenset[str] = frozenset()

    def matches(self, message: WebhookMessage) -> bool:
        """Returns whether the endpoint receives a message; courses do not filter submissions."""
        if self.types and message.type not in self.types:
            return False
        if self.callers and message.caller not in self.callers:
            return False
        if not self.courses or message.course_id is None:
            return True
        return message.course_id in self.courses or self._has_org_of(message.course_id)

    def _has_org_of(self, course_id: str) -> bool:
        key = parse_course_key(course_id)
        return key is not None and f"{key.org}{ANY_COURSE}" in self.courses


def is_course_filter(text: str) -> bool:
    """Returns whether a text is a course key, or stands for all courses of an organization."""
    if text.endswith(ANY_COURSE):
        return parse_course_key(f"course-v1:{text.removesuffix(ANY_COURSE)}+x+y") is not None
    return parse_course_key(text) is not None
