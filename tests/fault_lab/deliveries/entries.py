"""Entries of streams, as the laboratory sends and receives them."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tests.fault_lab.checker.deliveries import Arrival, Reply

REQUESTS = "enroll:requests"
REPLIES = f"{REQUESTS}:reply:faults"
EVENTS = "enroll:events"
#: The topics of the event bus with their defaults.
TOPICS = ("course-enrollment-lifecycle", "course-unenrollment-lifecycle")

Fields = Mapping[bytes, bytes]


class SentMessage(NamedTuple):
    """One message of a sender: its id and its requests."""

    id: str
    requests: tuple[Mapping[str, object], ...]

    def fields(self, key: str) -> dict[str, str]:
        """Returns the entry; several requests are sent as a list."""
        name = "requests" if len(self.requests) > 1 else "request"
        return {"key": key, "id": self.id, "reply_to": REPLIES, name: json.dumps(self._content())}

    def arguments(self, key: str) -> dict[str, object]:
        """Returns the arguments of the task."""
        return {
            "key": key,
            "idempotency_key": self.id,
            "reply": REPLIES,
            "requests": self._content(),
        }

    def _content(self) -> object:
        return list(self.requests) if len(self.requests) > 1 else self.requests[0]


def stream_arrival(fields: Fields) -> Arrival:
    """Returns the arrival of an entry of the event stream."""
    event = fields[b"event"]
    return Arrival(json.loads(event)["id"], _digest([event]))


def bus_arrival(topic: str, fields: Fields) -> Arrival:
    """Returns the arrival of an entry of the event bus; each topic has an order of its own."""
    content = _digest(part for item in sorted(fields.items()) for part in item)
    return Arrival(fields[b"id"].decode(), content, topic)


def webhook_arrival(headers: Mapping[str, str], body: bytes) -> Arrival:
    """Returns the arrival of a message at a receiver of webhooks."""
    id_ = headers["webhook-id"]
    if json.loads(body)["id"] != id_:
        id_ = f"{id_} (not that of its body)"
    return Arrival(id_, _digest([body]))


def read_reply(fields: Fields) -> Reply:
    """Returns the reply of an entry of the reply stream."""
    text = {name.decode(): value.decode() for name, value in fields.items()}
    if "error" in text:
        return Reply(text["id"], "", (json.loads(text["error"])["code"],))
    outcomes = (
        outcome_text(each["user"], each["outcome"], each.get("reason"))
        for each in json.loads(text["outcomes"])
    )
    return Reply(text["id"], text["submission_id"], tuple(outcomes))


def outcome_text(user: str | None, code: str, reason: str | None) -> str:
    """Returns an outcome as replies and rows are compared."""
    return f"{user} {code} {reason or ''}".strip()


def _digest(parts: Iterable[bytes]) -> bytes:
    return hashlib.sha256(b"\0".join(parts)).digest()
