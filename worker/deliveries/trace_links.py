"""The traces that messages belong to: those of the submissions that they speak of."""

from collections.abc import Mapping
from uuid import UUID

import orjson
from sqlalchemy.orm import Session

from enrollment.runtime.tracing.spans import ACTIVE
from enrollment.storage.views import trace_contexts


def traceparents_of(session: Session, bodies: Mapping[int, bytes]) -> dict[int, str]:
    """Returns the contexts of the messages with these bodies; none while traces are off."""
    if ACTIVE.recorder is None:
        return {}
    ids = {number: _submission_id(body) for number, body in bodies.items()}
    found = trace_contexts.of_submissions(session, {each for each in ids.values() if each})
    return {number: found[each] for number, each in ids.items() if each in found}


def _submission_id(body: bytes) -> UUID | None:
    """Returns the submission that a message speaks of; a challenge speaks of none."""
    text = orjson.loads(body)["data"].get("submission_id")
    return None if text is None else UUID(text)
