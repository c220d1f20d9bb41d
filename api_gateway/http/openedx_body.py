"""Bodies on the routes of Open edX: JSON, or the fields of a form."""

from email.message import Message
from email.parser import BytesParser
from typing import Any

from falcon.asgi import Request

from api_gateway.http.forms import URLENCODED_FORM, form_fields
from api_gateway.http.problems import bad_request
from api_gateway.http.request_body import check_is_json, parse_json, read_body

_MULTIPART_FORM = "multipart/form-data"


async def read_openedx_body(req: Request, limit: int) -> dict[str, Any]:
    """Reads a body of at most `limit` bytes: JSON, or a form, whose values are text.

    An empty body without a Content-Type is an empty object. Raises Problem 400, 408, 413, 415.
    """
    body = await read_body(req, limit)
    kind = (req.content_type or "").partition(";")[0].strip().lower()
    if not body and not kind:
        return {}
    if kind == URLENCODED_FORM:
        return dict(form_fields(body))
    if kind == _MULTIPART_FORM:
        return _multipart_fields(req.content_type or "", body)
    check_is_json(req, also=f"{URLENCODED_FORM} or {_MULTIPART_FORM}")
    value = parse_json(body)
    if not isinstance(value, dict):
        text = f"Invalid data. Expected a dictionary, but got {type(value).__name__}."
        raise bad_request("invalid_body", text)
    return value


def _multipart_fields(content_type: str, body: bytes) -> dict[str, Any]:
    """Parses plain fields. Raises Problem 400."""
    header = f"Content-Type: {content_type}\r\n\r\n".encode("utf-8", "replace")
    message = BytesParser().parsebytes(header + body)
    parts = message.get_payload()
    if not message.is_multipart() or not isinstance(parts, list):
        raise bad_request("malformed_form", "The body is not a form of plain fields.")
    try:
        return {_name(part): part.get_payload(decode=True).decode() for part in parts}  # type: ignore[union-attr]
    except UnicodeDecodeError as error:
        raise bad_request("malformed_form", "A field of the form is not UTF-8.") from error


def _name(part: Any) -> str:
    name = part.get_param("name", header="Content-Disposition") if isinstance(part, Message) else ""
    if not isinstance(name, str) or not name:
        raise bad_request("malformed_form", "A field of the form has no name.")
    return name
