"""Converts the fields of a form to the members that the same request has in JSON."""

from collections.abc import Iterable, Mapping
from typing import Any

from schemas.encoding.i_json import InvalidJson, loads

#: Members that are booleans in JSON, and the words for them in a form.
_BOOLEANS = ("is_active", "force_enrollment", "email_opt_in")
_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", ""), None),
}
#: Members that are objects or lists in JSON, and JSON text in a form.
_STRUCTURES = ("course_details", "enrollment_attributes")
_DETAIL = "course_details."


def members_of_form(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Returns the members of a request; of a repeated field the last value counts.

    Booleans are the words `true` and `false`. `course_details` and `enrollment_attributes` are JSON
    text; each member of `course_details` can be a field of its own, `course_details.course_id`.
    A text that cannot be read so is left as it is: the schema refuses its type.
    """
    members: dict[str, Any] = dict(fields)
    for name in _BOOLEANS:
        if name in members:
            members[name] = _WORDS.get(members[name], members[name])
    for name in _STRUCTURES:
        if name in members:
            members[name] = _parsed(members[name])
    dotted = [name for name in members if name.startswith(_DETAIL)]
    if dotted:
        details = {name.removeprefix(_DETAIL): members.pop(name) for name in dotted}
        given = members.get("course_details")
        members["course_details"] = {**given, **details} if isinstance(given, dict) else details
    return members


def _parsed(text: str) -> Any:
    if not text:
        return None
    try:
        return loads(text)
    except InvalidJson:
        return text
