"""Malformed messages for the queue."""

import base64
import json
import pickle
import uuid
from typing import Any

from enrollment.runtime.broker import QueueName, TaskName

#: The text that an unpickled message prints; Celery logs it.
UNPICKLED = "a pickle was believed"


class MalformedMessage:
    """Prints a text when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, (UNPICKLED,))


def message(
    body: object = ((), {}, {}),
    *,
    raw: bytes | None = None,
    content_type: str = "application/json",
    **headers: object,
) -> bytes:
    """Returns a message as kombu writes it to Redis."""
    raw = json.dumps(body).encode() if raw is None else raw
    known = {"task": TaskName.PROCESS.value, "id": str(uuid.uuid4()), "lang": "py", "retries": 0}
    said = {name: value for name, value in {**known, **headers}.items() if value is not None}
    properties = {
        "delivery_tag": str(uuid.uuid4()),
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": QueueName.INTERACTIVE.value},
        "body_encoding": "base64",
        "correlation_id": said.get("id"),
        "reply_to": "",
    }
    return json.dumps(
        {
            "body": base64.b64encode(raw).decode(),
            "content-encoding": "utf-8",
            "content-type": content_type,
            "headers": said,
            "properties": properties,
        }
    ).encode()


def about(*args: object, **kwargs: object) -> bytes:
    """Returns a message for a batch id of any type."""
    return message((args, kwargs, {}))


#: Messages by their defect.
POISON: dict[str, bytes] = {
    "not JSON": b"{not json",
    "not text": bytes(range(128, 256)),
    "nothing": b"",
    "a number": b"5",
    "a list": b"[]",
    "an empty object": b"{}",
    "deeply nested": b"[" * 100_000,
    "without properties": b'{"body": "", "headers": {"task": "batch.process"}}',
    "headers of another type": b'{"body": "", "headers": 7, "properties": {"delivery_tag": "1"}}',
    "body not base64": message(raw=b"").replace(b'"body": ""', b'"body": "%%%"'),
    "a pickle": message(
        raw=pickle.dumps(MalformedMessage()), content_type="application/x-python-serialize"
    ),
    "a pickle that says it is JSON": message(raw=pickle.dumps(MalformedMessage())),
    "an unknown task": message(task="batch.unknown"),
    "a task that is a list": message(task=["batch.process"]),
    "no task": message(task=None),
    "no id": message(id=None),
    "an old form": message({"task": "batch.process", "id": "1", "args": [10**9]}, task=None),
    "an unreadable time": message(((10**9,), {}, {}), eta="yesterday"),
    "10 MB": message((("x" * 10_000_000,), {}, {})),
    "an unknown batch": about(10**9),
    "a batch below zero": about(-1),
    "a huge batch": about(10**30),
    "a batch in words": about("seven"),
    "a batch that is true": about(True),  # noqa: FBT003 (what is sent is the point)
    "a batch that is a list": about([1]),
    "a batch that is nothing": about(None),
    "half a batch": about(1.5),
    "a batch that is infinite": message(raw=b"[[1e999], {}, {}]"),
    "no batch": about(),
    "two batches": about(1, 2),
    "a batch of another name": about(batch=1),
}
