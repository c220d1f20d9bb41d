"""Pagination: page sizes and opaque cursors."""

import base64
import binascii

from falcon.asgi import Request

from api_gateway.http.problems import Problem, bad_request
from schemas.fields import is_storable
from schemas.findings import finding

DEFAULT_PAGE = 100
MAX_PAGE = 1_000


def read_page_size(req: Request) -> int:
    """Reads `limit`, the number of items on a page. Raises Problem 400."""
    text = req.get_param("limit", default=str(DEFAULT_PAGE))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= MAX_PAGE):  # noqa: PLR2004
        raise _invalid("limit", text, f"limit must be a whole number from 1 to {MAX_PAGE}.")
    return int(text)


def encode_cursor(last: str) -> str:
    """Encodes the key of the last item of a page."""
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def read_cursor(req: Request) -> str | None:
    """Decodes `cursor`; None for the first page. Raises Problem 400."""
    cursor = req.get_param("cursor")
    if not cursor:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise invalid_cursor(cursor) from error
    if not is_storable(position):
        raise invalid_cursor(cursor)
    return position


def invalid_cursor(cursor: str) -> Problem:
    """Returns problem 400 for a cursor that no response contained."""
    return _invalid("cursor", cursor, "Invalid cursor.")


def _invalid(name: str, value: str, detail: str) -> Problem:
    return bad_request("invalid_parameter", detail, finding(name, value, "range"))
