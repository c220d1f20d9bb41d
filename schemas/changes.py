"""Events as callers see them: CloudEvents 1.0."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from enrollment.domain.codes import ChangeKind
from enrollment.domain.rules import moment_text
from schemas.submissions import caller_name

#: Makes the ids of events: the same event has the same id at every delivery.
_NAMESPACE = UUID("6f0c1c5e-2f5b-5d0e-9a57-51f8f1a3f6b4")
#: The ``source`` of every event.
SOURCE = "/api/enrollment/v1"


def dump_event(
    *,
    id: int,  # noqa: A002 (the record's own word)
    kind: ChangeKind,
    course_id: str,
    username: str,
    at: datetime,
    submission_id: UUID,
    line: int,
    caller: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
    position: int,
) -> dict[str, Any]:
    """One change of one enrollment, in structured CloudEvents JSON."""
    return {
        "specversion": "1.0",
        "id": str(uuid5(_NAMESPACE, str(id))),
        "source": SOURCE,
        "type": f"enrollment.{kind.value}",
        "subject": f"{course_id}/{username}",
        "time": moment_text(at),
        "datacontenttype": "application/json",
        "data": {
            "position": position,
            "user": username,
            "course_id": course_id,
            "before": before,
            "after": after,
            "submission_id": str(submission_id),
            "line": line,
            "caller": caller_name(caller),
            "reason": None,
        },
    }
