"""Bodies of the routes of Open edX: JSON, a urlencoded form, or a multipart form of plain fields.

Clients of Open edX send any of the three wherever it takes a body (Open edX: Form bodies).
"""

import io
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from falcon.asgi import Request
from falcon.media.multipart import (
    BodyPart,
    MultipartForm,
    MultipartParseError,
    MultipartParseOptions,
)
from falcon.util.mediatypes import parse_header

from api_gateway.http.fingerprint import media_type_of
from api_gateway.http.problems import Problem, bad_request, unsupported
from api_gateway.http.request_body import check_is_json, parse_json, read_body
from api_gateway.http.responses import JSON_TYPE

URLENCODED_FORM = "application/x-www-form-urlencoded"
MULTIPART_FORM = "multipart/form-data"
#: Maximum number of fields of a form.
MAX_FORM_FIELDS = 100

#: The fields of a form in their order; a name can be repeated.
FormFields = Iterable[tuple[str, str]]
#: Maximum number of characters of the boundary of a multipart form (RFC 2046).
_MAX_BOUNDARY = 70
_ACCEPTED = f"{JSON_TYPE}, {URLENCODED_FORM} or {MULTIPART_FORM}"


def last_values(fields: FormFields) -> dict[str, Any]:
    """Returns the last value of each field, as Open edX reads a form."""
    return dict(fields)


def joined_values(fields: FormFields) -> dict[str, Any]:
    """Returns the values of each field, joined with commas where it is repeated."""
    joined: dict[str, Any] = {}
    for name, text in fields:
        joined[name] = f"{joined[name]},{text}" if name in joined else text
    return joined


async def read_openedx_body(req: Request, limit: int) -> dict[str, Any]:
    """Reads a body with one object: the members of the JSON, or the texts of the form's fields.

    Parses on the event loop, so `limit` must be small (`MAX_BODY_ON_LOOP` in `bulk_body`). Raises
    Problem 400 for a body that is malformed or no object, 408, 413, and 415 for other types.
    """
    value = parse_openedx_body(req, await read_body(req, limit))
    if not isinstance(value, dict):
        raise bad_request("invalid_body", "The body must be an object.")
    return value


def parse_openedx_body(
    req: Request, body: bytes, of_form: Callable[[FormFields], Any] = last_values
) -> Any:
    """Parses a body that was read: any JSON value, or what `of_form` makes of a form's fields.

    An empty body is an empty object, also of any other type, as it is in Open edX. Raises Problem
    400 for a malformed body, 415 for other types.
    """
    if req.content_type == JSON_TYPE and body:
        return parse_json(body)
    if not body:
        return {}
    media_type = media_type_of(req)
    if media_type == URLENCODED_FORM:
        return of_form(_urlencoded_fields(body))
    if media_type == MULTIPART_FORM:
        return of_form(_multipart_fields(body, _boundary_of(req)))
    check_is_json(req, accepted=_ACCEPTED)
    return parse_json(body)


def _boundary_of(req: Request) -> str:
    """Returns the boundary of a multipart form. Raises Problem 400 without a valid one."""
    _, options = parse_header(req.content_type or "")
    boundary = str(options.get("boundary", ""))
    if not (0 < len(boundary) <= _MAX_BOUNDARY and boundary.isascii()):
        raise bad_request("invalid_body", "The Content-Type of the form has no valid boundary.")
    return boundary


def _urlencoded_fields(body: bytes) -> list[tuple[str, str]]:
    """Returns the fields in their order. Raises Problem 400."""
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except ValueError as error:
        raise _malformed() from error


def _multipart_fields(body: bytes, boundary: str) -> list[tuple[str, str]]:
    """Returns the plain fields in their order. Raises Problem 400, also for a file."""
    options = MultipartParseOptions()
    options.max_body_part_count = MAX_FORM_FIELDS
    options.max_body_part_buffer_size = len(body)
    form = MultipartForm(io.BytesIO(body), boundary.encode(), len(body), options)
    try:
        return [_plain_field(part) for part in form]
    except (MultipartParseError, ValueError) as error:
        raise _malformed() from error


def _plain_field(part: BodyPart) -> tuple[str, str]:
    if part.filename is not None:
        raise unsupported(
            f"The form field {part.name or ''!r:.60} is a file: send plain fields, or {JSON_TYPE}."
        )
    return part.name or "", part.get_data().decode()


def _malformed() -> Problem:
    return bad_request(
        "invalid_body", f"The body is not a form of at most {MAX_FORM_FIELDS} fields in UTF-8."
    )
