"""Events as callers see them: CloudEvents 1.0."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID, uuid5

from enrollment.domain.codes import ChangeKind
from enrollment.domain.rules import moment_text
from schemas.submissions import caller_name

#: The ``source`` of every event.
SOURCE = "/api/enrollment/v1"


class Shown(Protocol):
    """What of an event is shown; the records' own form has all of it."""

    @property
    def id(self) -> int:
        """The number it was kept under."""

    @property
    def kind(self) -> ChangeKind:
        """What happened."""

    @property
    def course_id(self) -> str:
        """Where."""

    @property
    def username(self) -> str:
        """To whom."""

    @property
    def at(self) -> datetime:
        """When it was committed."""

    @property
    def submission_id(self) -> UUID:
        """Which submission asked for it."""

    @property
    def line(self) -> int:
        """Which line of it."""

    @property
    def caller(self) -> str:
        """Whose submission that was."""

    @property
    def before(self) -> Mapping[str, Any] | None:
        """The state it began from; None where there was no record."""

    @property
    def after(self) -> Mapping[str, Any]:
        """The state it led to."""

    @property
    def position(self) -> int:
        """Its place in the feed."""


def dump_event(event: Shown) -> dict[str, Any]:
    """One change of one enrollment, in structured CloudEvents JSON.

    The id follows from the submission and the record: the same at every delivery, and
    another in every installation.
    """
    return {
        "specversion": "1.0",
        "id": str(uuid5(event.submission_id, str(event.id))),
        "source": SOURCE,
        "type": f"enrollment.{event.kind.value}",
        "subject": f"{event.course_id}/{event.username}",
        "time": moment_text(event.at),
        "datacontenttype": "application/json",
        "data": {
            "position": event.position,
            "user": event.username,
            "course_id": event.course_id,
            "before": event.before,
            "after": event.after,
            "submission_id": str(event.submission_id),
            "line": event.line,
            "caller": caller_name(event.caller),
            "reason": None,
        },
    }
