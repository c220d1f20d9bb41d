"""Messages for webhooks: which there are about events and submissions, and their bodies."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID, uuid5

import orjson

from enrollment.domain.events import RecordedEvent
from enrollment.domain.rules import format_timestamp
from enrollment.domain.webhooks.messages import CHALLENGE, SUBMISSION_DONE, WebhookMessage
from enrollment.domain.webhooks.records import DoneSubmission
from schemas.encoding.json_types import Count, Doc, Timestamp, Uuid
from schemas.events import dump_event, public_event_id
from schemas.submissions import caller_name


class DoneDataJson(TypedDict):
    """The submission that is done."""

    submission_id: Uuid
    caller: str
    total: Count
    counts: Annotated[dict[str, Any] | None, Doc("Outcomes of a file; null for a single request.")]
    finished_at: Timestamp
    request_id: Annotated[str | None, Doc("The X-Request-ID of the request that sent it.")]


class DoneJson(TypedDict):
    """A submission is done (CloudEvents 1.0)."""

    specversion: Literal["1.0"]
    id: Uuid
    source: str
    type: str
    subject: str
    time: Timestamp
    datacontenttype: str
    data: DoneDataJson


class ChallengeDataJson(TypedDict):
    """The text that a receiver must send back."""

    challenge: str


class ChallengeJson(TypedDict):
    """A receiver is asked whether it wants messages (CloudEvents 1.0)."""

    specversion: Literal["1.0"]
    id: Uuid
    source: str
    type: str
    subject: Annotated[str, Doc("The id of the webhook.")]
    time: Timestamp
    datacontenttype: str
    data: ChallengeDataJson


def event_messages(events: Iterable[RecordedEvent]) -> list[WebhookMessage]:
    """Returns the messages about events; they are rendered from the feed when they are sent."""
    return [
        WebhookMessage(
            public_event_id(event),
            f"enrollment.{event.kind.value}",
            event.course_id,
            caller_name(event.caller),
            f"{event.course_id}/{event.username}",
            event.position,
        )
        for event in events
    ]


def render_event(event: RecordedEvent, *, source: str) -> bytes:
    """Renders the body of a message about an event: the same bytes while its submission is kept."""
    return orjson.dumps(dump_event(event, source=source))


def done_message(done: DoneSubmission, *, source: str) -> WebhookMessage:
    """Returns the message about a submission that is done, with its body."""
    message_id: UUID = uuid5(done.id, SUBMISSION_DONE)
    finished_at = format_timestamp(done.finished_at)
    body: DoneJson = {
        "specversion": "1.0",
        "id": str(message_id),
        "source": source,
        "type": SUBMISSION_DONE,
        "subject": str(done.id),
        "time": finished_at,
        "datacontenttype": "application/json",
        "data": {
            "submission_id": str(done.id),
            "caller": caller_name(done.caller),
            "total": done.total,
            "counts": done.tally,
            "finished_at": finished_at,
            "request_id": done.request_id,
        },
    }
    return WebhookMessage(
        message_id,
        SUBMISSION_DONE,
        None,
        caller_name(done.caller),
        str(done.id),
        None,
        orjson.dumps(body).decode(),
    )


def challenge_message(
    webhook_id: UUID, message_id: UUID, challenge: str, *, source: str, now: datetime
) -> WebhookMessage:
    """Returns the message that asks the receiver of an endpoint to send a text back."""
    body: ChallengeJson = {
        "specversion": "1.0",
        "id": str(message_id),
        "source": source,
        "type": CHALLENGE,
        "subject": str(webhook_id),
        "time": format_timestamp(now),
        "datacontenttype": "application/json",
        "data": {"challenge": challenge},
    }
    text = orjson.dumps(body).decode()
    return WebhookMessage(message_id, CHALLENGE, None, "", str(webhook_id), None, text)


def answers_challenge(body: bytes, answer: str) -> bool:
    """Returns whether an answer has the text of a challenge: alone, or as `challenge` in JSON.

    One that merely repeats the message does not: many pages do that to everybody.
    """
    challenge: str = orjson.loads(body)["data"]["challenge"]
    try:
        found = orjson.loads(answer)
    except ValueError:
        return answer.strip() == challenge
    text = found.get("challenge") if isinstance(found, dict) else found
    return isinstance(text, str) and text == challenge
