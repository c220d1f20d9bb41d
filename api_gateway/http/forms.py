"""HTML forms as request bodies: Open edX accepts them wherever it accepts JSON."""

from typing import Any
from urllib.parse import parse_qsl

from api_gateway.http.problems import Problem, bad_request
from api_gateway.http.request_body import parse_json

URLENCODED_FORM = "application/x-www-form-urlencoded"
#: Maximum number of fields of a form.
MAX_FORM_FIELDS = 100

_FLAGS = {"true": True, "True": True, "false": False, "False": False}
_COURSE_ID = "course_details.course_id"


def form_request(body: bytes) -> dict[str, Any]:
    """Converts a form to the equivalent JSON. Raises Problem 400 for a malformed form.

    The values of a form are text: booleans are the words `true` and `false`, and
    `course_details` is JSON in a text, or a field named `course_details.course_id`.
    """
    members: dict[str, Any] = dict(_fields(body))
    if "is_active" in members:
        members["is_active"] = _FLAGS.get(members["is_active"], members["is_active"])
    if members.get("course_details"):
        members["course_details"] = _details(members["course_details"])
    if _COURSE_ID in members:
        members["course_details"] = {"course_id": members.pop(_COURSE_ID)}
    return members


def form_fields(body: bytes) -> dict[str, str]:
    """Parses a form; joins the values of a repeated field with commas. Raises Problem 400."""
    fields: dict[str, str] = {}
    for name, text in _fields(body):
        fields[name] = f"{fields[name]},{text}" if name in fields else text
    return fields


def _fields(body: bytes) -> list[tuple[str, str]]:
    """Returns the fields in their order. Raises Problem 400."""
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except ValueError as error:
        raise bad_request(
            "invalid_body", f"The body is not a form of at most {MAX_FORM_FIELDS} fields in UTF-8."
        ) from error


def _details(text: str) -> Any:
    """Parses the details; text that is not JSON is rejected later, as an invalid course."""
    try:
        return parse_json(text.encode())
    except Problem:
        return text
