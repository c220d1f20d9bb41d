"""Messages for webhooks, and the filters of endpoints."""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from enrollment.domain.codes import ChangeKind
from enrollment.domain.course_keys import matches_course

#: Type of the message about a submission that is done.
SUBMISSION_DONE = "submission.done"
#: Type of the message that asks a receiver whether it wants messages. Filters do not know it.
CHALLENGE = "webhook.challenge"
#: Every type of message that filters know.
MESSAGE_TYPES = (*(f"enrollment.{kind.value}" for kind in ChangeKind), SUBMISSION_DONE)


class DisabledReason(StrEnum):
    """Why no messages are sent to an endpoint."""

    OPERATOR = "operator"
    #: It answered 410.
    UNSUBSCRIBED = "gone"
    #: Its receiver has not answered the challenge yet.
    UNVERIFIED = "unverified"
    #: It does not exist any more for callers; a purge deletes it with its deliveries.
    REMOVED = "removed"


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
        return message.course_id is None or matches_course(self.courses, message.course_id)
