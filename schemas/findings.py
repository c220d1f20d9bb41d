"""Findings: errors in values of an input, in the one form that callers see.

A finding has `field`, `value` and `rule`; its place, where known (`pointer` into a JSON document,
or `line`, `column` and `offset`); `expected` and `message` where they help. A rule is one stable
word for programs; callers see a sentence in place of `message` (`messages.finding_messages`).
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any

import orjson
from marshmallow import ValidationError

Finding = Mapping[str, object]

#: Maximum of characters of a caller's text that a finding or a message repeats.
MAX_VALUE_CHARS = 100
#: Stands between a rule and its detail in the message of a `ValidationError`.
DETAIL = ": "
#: The message of marshmallow's `validate.OneOf`, which puts the known values into it.
ONE_OF_THESE = "one_of: known are {choices}"
#: Members of bodies whose values no error repeats: they have credentials.
_SECRET_MEMBERS = frozenset({("auth",)})
#: Maximum of findings in one response.
MAX_FINDINGS = 100


class Rule(StrEnum):
    """The rules that values break. `messages.rule_texts` has a sentence for each."""

    REQUIRED = "required"
    NULL = "null"
    TYPE = "type"
    #: A member or an option that is not known, where others are refused.
    UNKNOWN = "unknown"
    #: A member or a parameter that is not known but looks like one that is.
    UNKNOWN_MEMBER = "unknown_member"
    LENGTH = "length"
    RANGE = "range"
    PATTERN = "pattern"
    #: A NUL or an unpaired surrogate.
    CHARACTERS = "characters"
    COURSE_KEY = "course_key"
    EMAIL = "email"
    DATETIME = "datetime"
    IN_THE_FUTURE = "in_the_future"
    ONE_OF = "one_of"
    DUPLICATE = "duplicate"
    MISMATCH = "mismatch"
    JSON = "json"
    QUOTE = "quote"
    #: More cells than columns.
    COLUMNS = "columns"
    ENCODING = "encoding"
    UNREADABLE = "unreadable"
    SOURCE = "source"
    NOT_IN_CROSSWALK = "not_in_crosswalk"
    #: An id that another program damaged: `4.71101E+11`, `NULL`.
    DAMAGED_ID = "damaged_id"
    #: An invisible character, or one that changes the direction of text.
    INVISIBLE_CHARACTER = "invisible_character"
    #: A username and an e-mail address of two learners.
    CONTRADICTION = "contradiction"
    #: A URL that must not be called.
    DESTINATION = "destination"
    #: The number of further findings.
    OMITTED = "omitted"


def finding(
    field: str,
    value: object,
    rule: str,
    message: str | None = None,
    *,
    expected: str | Sequence[str] | None = None,
) -> Finding:
    """Returns a finding on a field; `value` is shortened, printable and safe to store.

    `message` is a detail that the sentence about the finding includes.
    """
    item: dict[str, object] = {"field": field, "value": display_value(value), "rule": rule}
    if expected is not None:
        item["expected"] = expected if isinstance(expected, str) else list(expected)
    if message is not None:
        item["message"] = message
    return item


def at_line(item: Finding, line: int) -> Finding:
    """Returns the finding with its line in place of a pointer."""
    return {"line": line, **{name: item[name] for name in item if name != "pointer"}}


def at_pointer(item: Finding) -> Finding:
    """Returns the finding with the pointer that its dotted field stands for.

    Only for fields without dots in their names.
    """
    return {"pointer": _pointer(str(item["field"]).split(".")), **item}


def findings_of(error: ValidationError, data: object) -> tuple[Finding, ...]:
    """Returns the findings of a schema's error, each with its pointer.

    After `MAX_FINDINGS` follows one that counts the others.
    """
    broken = [(path, rule) for path, rules in _broken_rules(error.messages, ()) for rule in rules]
    shown = [_at_path(path, _value_at(data, path), rule) for path, rule in broken[:MAX_FINDINGS]]
    return (*shown, *map(at_pointer, _omitted(len(broken) - MAX_FINDINGS)))


def first_findings_of(error: ValidationError, data: object) -> tuple[Finding, ...]:
    """Returns the first broken rule of every field, without pointers.

    After `MAX_FINDINGS` follows one that counts the others.
    """
    broken = list(_broken_rules(error.messages, ()))
    shown = []
    for path, rules in broken[:MAX_FINDINGS]:
        rule, _, detail = rules[0].partition(DETAIL)
        name = ".".join(map(str, path))
        shown.append(finding(name, _value_at(data, path), rule, detail or None))
    return (*shown, *_omitted(len(broken) - MAX_FINDINGS))


def _omitted(number: int) -> tuple[Finding, ...]:
    """Returns the finding that counts those that are left out; none if there are none."""
    return (finding("", number, Rule.OMITTED),) if number > 0 else ()


def display_value(value: object) -> object:
    """Returns a value as an error message may repeat it.

    Numbers, booleans and null are unchanged; anything else becomes one short printable line, lists
    and objects as JSON.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    text = shorten(value if isinstance(value, str) else _json_text(_head(value)))
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def _head(value: object) -> object:
    """Returns as many items of a list or an object as can be displayed."""
    if isinstance(value, list):
        return value[:MAX_VALUE_CHARS]
    if isinstance(value, dict) and len(value) > MAX_VALUE_CHARS:
        return dict(islice(value.items(), MAX_VALUE_CHARS))
    return value


def _json_text(value: object) -> str:
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # an unpaired surrogate, or a number that is too large
        return str(value)


def shorten(text: str) -> str:
    """Returns a text of at most `MAX_VALUE_CHARS` characters."""
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"


def _at_path(path: tuple[Any, ...], value: object, message: str) -> Finding:
    steps = [str(display_value(str(step))) for step in path]
    rule, _, detail = message.partition(DETAIL)
    return {"pointer": _pointer(steps), **finding(".".join(steps), value, rule, detail or None)}


def _pointer(steps: list[str]) -> str:
    """Returns a JSON pointer (RFC 6901); the empty one is the whole document."""
    if steps == [""]:
        return ""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def _broken_rules(messages: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yields the path of every invalid value with the rules that it breaks."""
    if not isinstance(messages, Mapping):
        yield path, messages
        return
    for step, inner in messages.items():
        yield from _broken_rules(inner, path if step == "_schema" else (*path, step))


def _value_at(data: Any, path: tuple[Any, ...]) -> object:
    if path[:1] in _SECRET_MEMBERS:
        return None
    for step in path:
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int):
            data = data[step]
        else:
            return None
    return data
