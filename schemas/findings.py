"""Findings: errors in values of an input, in the one form that callers see.

A finding has `field`, `value` and `rule`; its place, where known (`pointer` into a JSON document,
or `line`, `column` and `offset`); `expected` and `message` where they help. A rule is one stable
word for programs; `RULES` has its text.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from marshmallow import ValidationError

Finding = Mapping[str, object]

#: Maximum of characters of a caller's text that a finding or a message repeats.
MAX_VALUE_CHARS = 100
#: Maximum of findings in one response.
MAX_FINDINGS = 100

RULES: Mapping[str, str] = {
    "required": "must be given",
    "null": "must not be null",
    "type": "has the wrong type",
    "unknown": "is not a known field",
    "unknown_member": "is not read, but looks like a known member",
    "length": "is too short or too long",
    "range": "is out of range",
    "pattern": "has a form or characters that are not allowed",
    "characters": "contains a NUL or an unpaired surrogate",
    "course_key": "must be course-v1:org+course+run or org/course/run",
    "email": "must be an e-mail address",
    "datetime": "must be an RFC 3339 date and time with its zone, such as 2026-01-31T12:00:00Z",
    "one_of": "is not one of the known values",
    "duplicate": "is given twice",
    "mismatch": "differs from the URL",
    "json": "is not valid JSON",
    "unreadable": "cannot be read",
    "source": "must be 1 to 100 letters, digits, dots, dashes or underscores",
    "quote": "has a quote that is never closed",
    "invisible_character": "has a character that is invisible or changes the direction of the text",
    "damaged_id": "looks like an id that a program damaged, and no learner has exactly this id",
    "contradiction": "belongs to another learner than the one named",
    "in_the_future": "is later than the request itself",
    "encoding": "is not UTF-8",
    "omitted": "is the number of further findings",
}


def finding(
    field: str,
    value: object,
    rule: str,
    message: str | None = None,
    *,
    expected: str | Sequence[str] | None = None,
) -> Finding:
    """Returns a finding on a field; `value` is shortened, printable and safe to store."""
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
    shown = [
        finding(".".join(map(str, path)), _value_at(data, path), rules[0])
        for path, rules in broken[:MAX_FINDINGS]
    ]
    return (*shown, *_omitted(len(broken) - MAX_FINDINGS))


def _omitted(number: int) -> tuple[Finding, ...]:
    """Returns the finding that counts those that are left out; none if there are none."""
    return (finding("", number, "omitted"),) if number > 0 else ()


def display_value(value: object) -> object:
    """Returns a value as an error message may repeat it.

    Numbers, booleans and null are unchanged; anything else becomes one short printable line.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    text = shorten(str(_head(value)))
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


def shorten(text: str) -> str:
    """Returns a text of at most `MAX_VALUE_CHARS` characters."""
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"


def _at_path(path: tuple[Any, ...], value: object, rule: str) -> Finding:
    steps = [str(display_value(str(step))) for step in path]
    return {"pointer": _pointer(steps), **finding(".".join(steps), value, rule)}


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
    for step in path:
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int):
            data = data[step]
        else:
            return None
    return data
