"""The single values that cross a border, each bounded and strict, and what is said of bad ones.

Every error is one word, a *rule*, so that programs can act on it; ``RULES`` says it in words.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate
from marshmallow.types import ErrorMessages

from enrollment.domain.coursekeys import MAX_COURSE_ID, parse_course_key
from enrollment.domain.rules import moment_text

MAX_NAME = 255
MAX_EMAIL = 254
MAX_MODE = 100
#: Largest whole number that the columns hold.
MAX_WHOLE = 2**31 - 1
#: Longest piece of a caller's text that an error message gives back.
MAX_SHOWN = 100
#: Most findings that one answer lists.
MAX_FINDINGS = 100

RULES: Mapping[str, str] = {
    "required": "must be given",
    "null": "must not be null",
    "type": "has another type than it must have",
    "unknown": "is not a field that is known here",
    "length": "is too short or too long",
    "range": "is out of range",
    "pattern": "has a form or characters that are not allowed",
    "characters": "holds NUL or half a character",
    "course_key": "must be course-v1:org+course+run or org/course/run",
    "email": "must be an e-mail address",
    "datetime": "must be an ISO 8601 date and time with its zone, such as 2026-01-31T12:00:00Z",
    "one_of": "is none of the values that are known",
    "duplicate": "is given twice",
    "mismatch": "is not what the address says",
    "json": "is not honest JSON",
    "source": "must be 1 to 100 letters, digits, dots, dashes or underscores",
}

WORDS: ErrorMessages = {
    "required": "required",
    "null": "null",
    "validator_failed": "pattern",
    "invalid": "type",
    "invalid_utf8": "characters",
    "too_large": "range",
    "type": "type",
    "unknown": "unknown",
}

#: Spaces are legal inside of it; around it they would make a second learner who looks the same.
USERNAME = re.compile(r"(?! )[\w .@+-]+(?<! )")
_EMAIL_PART = r"[^\s@,;:<>()\[\]\\\"/\x00-\x1f\x7f\ud800-\udfff]+"
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
EMAIL = re.compile(f"{_EMAIL_PART}@{_EMAIL_PART}")
#: What PostgreSQL cannot store.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
    r"([Zz]|[+-][0-9]{2}:?[0-9]{2})"
)


def parse_moment(text: str) -> datetime | None:
    """The moment in UTC, or None where the text is none or lacks its zone."""
    if _MOMENT.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # the 30th of February; the year 0 in UTC
        return None


def parse_username(text: str) -> str | None:
    """The username, or None where the text is none (upstream 1.2; a space is legal)."""
    return text if len(text) <= MAX_NAME and USERNAME.fullmatch(text) else None


def parse_email(text: str) -> str | None:
    """The e-mail in lower case, or None where the text cannot be one."""
    lowered = text.lower()
    return lowered if len(lowered) <= MAX_EMAIL and EMAIL.fullmatch(lowered) else None


def is_source(text: str) -> bool:
    """Whether the text can name whose ids a file has."""
    return _SOURCE.fullmatch(text) is not None


def is_storable(text: str) -> bool:
    """Whether every database can hold the text: PostgreSQL takes no NUL, UTF-8 no surrogates."""
    return UNSTORABLE.search(text) is None


class Text(fields.String):
    """A bounded text that every database can hold."""

    default_error_messages = WORDS

    def __init__(
        self, *, longest: int, shortest: int = 0, pattern: str | None = None, **kwargs: Any
    ) -> None:
        validators: list[Any] = [validate.Length(min=shortest, max=longest, error="length")]
        if pattern is not None:
            validators.append(validate.Regexp(rf"(?:{pattern})\Z", error="pattern"))
        super().__init__(validate=validators, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        if not is_storable(value):
            raise self.make_error("invalid_utf8")
        return value


class Whole(fields.Integer):
    """A bounded whole number; ``true`` and ``1.0`` are none."""

    default_error_messages = WORDS

    def __init__(self, *, least: int = 0, most: int = MAX_WHOLE, **kwargs: Any) -> None:
        bounds = validate.Range(min=least, max=most, error="range")
        super().__init__(strict=True, validate=bounds, **kwargs)


class Flag(fields.Boolean):
    """``true`` or ``false`` and nothing else."""

    default_error_messages = WORDS

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class Moment(fields.DateTime):
    """A point in time: read with any zone but never without, written with ``Z``."""

    default_error_messages = WORDS

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else moment_text(value)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> datetime:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        moment = parse_moment(value)
        if moment is None:
            raise ValidationError("datetime")
        return moment


class CourseId(Text):
    """A course key, kept as it is written."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(longest=MAX_COURSE_ID, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if parse_course_key(text) is None:
            raise ValidationError("course_key")
        return text


class Username(Text):
    """A username."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(longest=MAX_NAME, pattern=USERNAME.pattern, **kwargs)


class Email(Text):
    """An e-mail address, brought to lower case."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(longest=MAX_EMAIL, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        email = parse_email(super()._deserialize(value, attr, data, **kwargs))
        if email is None:
            raise ValidationError("email")
        return email


class Listed(fields.List[Any]):
    """A bounded list."""

    default_error_messages = WORDS

    def __init__(self, inner: fields.Field[Any], *, most: int, **kwargs: Any) -> None:
        super().__init__(inner, validate=validate.Length(max=most, error="length"), **kwargs)


class Inner(fields.Nested):
    """An object in an object."""

    default_error_messages = WORDS


class Shape(Schema):
    """An object of known members; any other is refused by its name."""

    error_messages = {"unknown": "unknown", "type": "type"}  # noqa: RUF012 (marshmallow's own form)

    class Meta:
        """How marshmallow reads it."""

        unknown = RAISE


def findings(error: ValidationError, data: object) -> tuple[dict[str, object], ...]:
    """What is wrong and where: ``pointer``, ``field``, ``value``, ``rule``, a row each."""
    found = []
    for path, rule in _rules(error.messages, ()):
        found.append(finding(path, _value_at(data, path), rule))
        if len(found) == MAX_FINDINGS:
            break
    return tuple(found)


def finding(path: Iterable[object], value: object, rule: str) -> dict[str, object]:
    """One thing that is wrong with one value."""
    steps = [str(shown(str(step))) for step in path]
    escaped = ("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
    return {
        "pointer": "".join(escaped),
        "field": ".".join(steps),
        "value": shown(value),
        "rule": rule,
    }


def shown(value: object) -> object:
    """A value as an error message may give it back: short, and safe to print."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else type(value).__name__
    return short(UNSTORABLE.sub("?", text))


def short(text: str) -> str:
    """A text as long as an error message may show it."""
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def _rules(messages: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(messages, Mapping):
        for step, inner in messages.items():
            yield from _rules(inner, path if step == "_schema" else (*path, step))
        return
    for rule in messages:
        yield path, rule


def _value_at(data: Any, path: tuple[Any, ...]) -> object:
    for step in path:
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int):
            data = data[step]
        else:
            return None
    return data
