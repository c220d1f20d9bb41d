"""Checked texts and marshmallow fields: each value is bounded and read strictly.

The message of every error is a rule of `schemas.findings`. Every username and every e-mail address
that comes in, in any request or file, is checked and brought to its canonical form here.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, validate
from marshmallow.types import ErrorMessages

from enrollment.domain.course_keys import MAX_COURSE_ID, parse_course_key
from enrollment.domain.identity import canonical_email, canonical_text, has_invisible
from enrollment.domain.rules import format_timestamp
from schemas.findings import DETAIL, RANGE_ERROR, Rule
from schemas.identity.email_syntax import has_email_syntax

MAX_NAME = 255
MAX_EMAIL = 254
MAX_MODE = 100
MAX_TIMESTAMP_CHARS = 64
#: Largest integer that the columns hold.
MAX_INTEGER = 2**31 - 1

#: The rule behind each of marshmallow's own errors: those of schemas, and those of fields.
_SCHEMA_CODES = {"type": f"{Rule.TYPE}{DETAIL}write an object", "unknown": Rule.UNKNOWN.value}
ERROR_RULES: ErrorMessages = {
    **_SCHEMA_CODES,
    "required": Rule.REQUIRED.value,
    "null": Rule.NULL.value,
    "validator_failed": Rule.PATTERN.value,
    "invalid": Rule.TYPE.value,
    "invalid_utf8": Rule.CHARACTERS.value,
    "too_large": Rule.RANGE.value,
}


def error_rules(expected: str) -> ErrorMessages:
    """Returns `ERROR_RULES` for a field, whose type is described in words."""
    return {**ERROR_RULES, "invalid": f"{Rule.TYPE}{DETAIL}write {expected}"}


#: Spaces are allowed inside; at the ends they would make usernames that look the same.
USERNAME = re.compile(r"(?! )[\w .@+-]+(?<! )")
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: PostgreSQL stores no NUL, UTF-8 has no surrogates.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
    r"(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})"
)
#: Separators of a timestamp with an offset, from its fifth character on, every third one.
_WITH_OFFSET = frozenset({"--T::+:", "--T::-:"})


def parse_timestamp(text: str) -> datetime | None:
    """Returns the point in time in UTC, or None for anything but an RFC 3339 timestamp.

    As lenient as RFC 3339 is: `t`, `z` and a space for `T` are read. Beyond it, seconds and
    the colon of the offset may be left out.
    """
    return _parse_timestamp(text) if len(text) <= MAX_TIMESTAMP_CHARS else None


@lru_cache(maxsize=8192)
def _parse_timestamp(text: str) -> datetime | None:
    size = len(text)
    # Of these forms fromisoformat() alone is as strict as the expression, which costs more.
    is_common = (
        (size == 20 and text[7::3] == "-T::Z")  # noqa: PLR2004 (2026-01-31T12:00:00Z)
        or (21 < size < 28 and text[4:20:3] == "--T::." and text[-1] == "Z")  # noqa: PLR2004
        or (size == 25 and text[4::3] in _WITH_OFFSET)  # noqa: PLR2004
    )
    if not is_common:
        if _TIMESTAMP.fullmatch(text) is None:
            return None
        text = text.upper()
    try:
        parsed = datetime.fromisoformat(text)
        return parsed if parsed.tzinfo is UTC else parsed.astimezone(UTC)
    except (ValueError, OverflowError):  # February 30; the year 0 in UTC
        return None


def parse_username(text: str) -> str | None:
    """Returns the username in its canonical form, or None where the text is not one."""
    username = canonical_text(text)
    if len(username) > MAX_NAME or USERNAME.fullmatch(username) is None:
        return None
    return None if has_invisible(username) else username


def username_rule(text: str) -> str:
    """Returns the rule that a text which is not a username breaks."""
    if len(canonical_text(text)) > MAX_NAME:
        return "length"
    return "invisible_character" if has_invisible(text) else "pattern"


def parse_email(text: str) -> str | None:
    """Returns the e-mail address in its canonical form, or None where the text cannot be one.

    The syntax is the one that Open edX accepts (Open edX: E-mail addresses).
    """
    email = canonical_email(text)
    if len(email) > MAX_EMAIL or has_invisible(email):
        return None
    return email if has_email_syntax(email) else None


def email_rule(text: str, otherwise: str = "email") -> str:
    """Returns the rule that a text which is not an e-mail address breaks."""
    if len(canonical_email(text)) > MAX_EMAIL:
        return "length"
    return "invisible_character" if has_invisible(text) else otherwise


def is_course_key(text: str) -> bool:
    """Returns whether the text is a course key; results are cached, for few keys recur often."""
    return len(text) <= MAX_COURSE_ID and _is_course_key(text)


@lru_cache(maxsize=8192)
def _is_course_key(text: str) -> bool:
    return parse_course_key(text) is not None


def is_source(text: str) -> bool:
    """Returns whether the text is a valid name of an id source (a system with external ids)."""
    return _SOURCE.fullmatch(text) is not None


def is_storable(text: str) -> bool:
    """Returns whether every database can store the text: no NUL, no unpaired surrogate."""
    return _UNSTORABLE.search(text) is None


class BoundedString(fields.String):
    """A bounded string that every database can store."""

    default_error_messages = error_rules("a text, in JSON between quotes")

    def __init__(
        self, *, max_length: int, min_length: int = 0, pattern: str | None = None, **kwargs: Any
    ) -> None:
        validators: list[Any] = [validate.Length(min=min_length, max=max_length, error="length")]
        if pattern is not None:
            validators.append(validate.Regexp(rf"(?:{pattern})\Z", error="pattern"))
        super().__init__(validate=validators, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        if not is_storable(value):
            raise self.make_error("invalid_utf8")
        return value


class BoundedInteger(fields.Integer):
    """A bounded integer; `true` and `1.0` are refused."""

    default_error_messages = error_rules("a whole number, in JSON without quotes")

    def __init__(self, *, minimum: int = 0, maximum: int = MAX_INTEGER, **kwargs: Any) -> None:
        bounds = validate.Range(min=minimum, max=maximum, error=RANGE_ERROR)
        super().__init__(strict=True, validate=bounds, **kwargs)


class StrictBoolean(fields.Boolean):
    """A boolean: `true` or `false` and nothing else, neither words nor numbers."""

    default_error_messages = error_rules("true or false, in JSON without quotes")

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class TimestampField(fields.DateTime):
    """A point in time: read with any offset but never without one, written in UTC with `Z`."""

    default_error_messages = error_rules("a date and time with zone, in JSON between quotes")

    def _serialize(self, value: Any, attr: Any, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else format_timestamp(value)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> datetime:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        timestamp = parse_timestamp(value)
        if timestamp is None:
            raise ValidationError("datetime")
        return timestamp


class CourseId(BoundedString):
    """A course key, unchanged."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_COURSE_ID, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not is_course_key(text):
            raise ValidationError("course_key")
        return text


class Username(BoundedString):
    """A username, in its canonical form."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_NAME, pattern=USERNAME.pattern, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        username = parse_username(text)
        if username is None:
            raise ValidationError(username_rule(text))
        return username


class Email(BoundedString):
    """An e-mail address, in its canonical form."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_EMAIL, **kwargs)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        email = parse_email(text)
        if email is None:
            raise ValidationError(email_rule(text))
        return email


class BoundedList(fields.List[Any]):
    """A list of bounded length; the items of a list that is too long are not read."""

    default_error_messages = error_rules("a list")

    def __init__(self, inner: fields.Field[Any], *, max_items: int, **kwargs: Any) -> None:
        super().__init__(inner, validate=validate.Length(max=max_items, error="length"), **kwargs)
        self.max_items = max_items

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        if len(value) > self.max_items:
            raise ValidationError("length")
        return super()._deserialize(value, attr, data, **kwargs)


class Nested(fields.Nested):
    """An object inside an object."""

    default_error_messages = error_rules("an object")


class StrictSchema(Schema):
    """An object with known members only; any other is a finding that names the nearest one."""

    error_messages = _SCHEMA_CODES

    def handle_error(self, error: ValidationError, data: Any, *, many: bool, **_: Any) -> None:
        """Adds the nearest known name, or all of them, to the errors of unknown members."""
        known = [name for name, field in self.load_fields.items() if not field.dump_only]
        if isinstance(error.messages, dict):
            for name, rules in error.messages.items():
                if rules == [Rule.UNKNOWN]:
                    error.messages[name] = [_unknown_rule(str(name), known)]

    class Meta:
        """Options of marshmallow."""

        unknown = RAISE


def _unknown_rule(name: str, known: Sequence[str]) -> str:
    """Returns the rule with a detail, in the form that `findings_of` reads."""
    near = get_close_matches(name[:MAX_NAME].casefold(), known, 1)
    detail = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"{Rule.UNKNOWN}{DETAIL}{detail}"


class OpenSchema(Schema):
    """An object that may have members beside the known ones; they are not read."""

    error_messages = _SCHEMA_CODES

    class Meta:
        """Options of marshmallow."""

        unknown = EXCLUDE
