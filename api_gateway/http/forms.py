"""HTML forms as request bodies: Open edX accepts them wherever it accepts JSON."""

from typing import Any
from urllib.parse import parse_qsl

from api_gateway.http.problems import Problem, bad_request
from api_gateway.http.request_body import parse_json

FORM = "application/x-www-form-urlencoded"
#: Maximum number of fields of a form.
MAX_FIELDS = 100

_FLAGS = {"true": True, "True": True, "false": False, "False": False}
_COURSE_ID = "course_details.course_id"


def form_request(body: bytes) -> dict[str, Any]:
    """Convert a form to the equivalent JSON. Raises Problem 400 for a malformed form.

    A form contains text alone: ``true`` and ``false`` are words, and the course's details are
    JSON in a text or have a field of their own.
    """
    asked: dict[str, Any] = dict(_fields(body))
    if "is_active" in asked:
        asked["is_active"] = _FLAGS.get(asked["is_active"], asked["is_active"])
    if asked.get("course_details"):
        asked["course_details"] = _details(asked["course_details"])
    if _COURSE_ID in asked:
        asked["course_details"] = {"course_id": asked.pop(_COURSE_ID)}
    return asked


def form_fields(body: bytes) -> dict[str, str]:
    """Parse a form; the values of a repeated field are joined with commas."""
    given: dict[str, str] = {}
    for name, text in _fields(body):
        given[name] = f"{given[name]},{text}" if name in given else text
    return given


def _fields(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError as error:
        raise bad_request(
            "invalid_body", f"The body is not a form of at most {MAX_FIELDS} fields in UTF-8."
        ) from error


def _details(text: str) -> Any:
    """Parse the details; a text that is not JSON is refused later, as no course."""
    try:
        return parse_json(text.encode())
    except Problem:
        return text
