"""What one request asks for, and the checks of its parts that every reader shares."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from enrollment.domain.coursekeys import MAX_COURSE_ID, parse_course_key
from enrollment.domain.model import Attribute
from schemas.fields import short

MAX_COHORT = 255
MAX_ATTRIBUTES = 100
MAX_ATTRIBUTE_TEXT = 255
MAX_MOMENT = 64

#: One thing that is wrong: ``field``, ``value`` and ``rule``, and ``message`` where it helps.
Finding = Mapping[str, object]


class AskedRequest(NamedTuple):
    """One request as it was sent: checked, and nothing filled in but ``is_active``."""

    username: str | None
    #: In lower case.
    email: str | None
    course_id: str
    is_active: bool = True
    mode: str | None = None
    attributes: tuple[Attribute, ...] | None = None
    cohort: str | None = None
    force: bool = False
    #: In UTC.
    requested_at: datetime | None = None


class ShapeError(Exception):
    """A request has not the shape of one."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(f"{len(findings)} finding(s)")
        self.findings = tuple(findings)


def finding(field: str, value: object, rule: str, message: str | None = None) -> Finding:
    """Say what is wrong with a field; its value is shortened and safe to show."""
    found: dict[str, object] = {
        "field": field,
        "value": None if value is None else shown(value),
        "rule": rule,
    }
    return found if message is None else found | {"message": message}


def shown(value: object) -> str:
    """A value as people and databases can take it: one short line."""
    return "".join(c if c.isprintable() else "\ufffd" for c in short(str(value)))


@lru_cache(maxsize=8192)
def _is_course_key(text: str) -> bool:
    return parse_course_key(text) is not None


def is_course_key(text: str) -> bool:
    """Whether the text is a course key. The same few come by the thousand."""
    return len(text) <= MAX_COURSE_ID and _is_course_key(text)


@lru_cache(maxsize=8192)
def _moment(text: str) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(text)
        return None if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def moment(text: str) -> datetime | None:
    """The point in time that an ISO 8601 text with a zone names, or None."""
    return _moment(text) if len(text) <= MAX_MOMENT else None
