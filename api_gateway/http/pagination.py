"""Pagination: page sizes and opaque cursors."""

import base64
import binascii

from falcon.asgi import Request

from api_gateway.http.problems import Problem, bad_request
from schemas.fields import is_storable
from schemas.findings import Rule, finding

DEFAULT_PAGE = 100
MAX_PAGE = 1_000


def read_page_size(req: Request) -> int:
    """Reads `limit`, the number of items on a page, also as `page_size`. Raises Problem 400."""
    name, text = read_size_parameter(req)
    if text is None:
        return DEFAULT_PAGE
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= MAX_PAGE):  # noqa: PLR2004
        raise _invalid(
            name, text, f"{name} must be a whole number from 1 to {MAX_PAGE}.", f"1 to {MAX_PAGE}"
        )
    return int(text)


def read_size_parameter(req: Request) -> tuple[str, str | None]:
    """Returns the name and the text of `limit` or `page_size`; the text is None without both.

    Every list accepts both names. Raises Problem 400 if both are given and differ.
    """
    limit, page_size = req.get_param("limit"), req.get_param("page_size")
    if limit is not None and page_size is not None and limit != page_size:
        found = finding("page_size", page_size, Rule.DUPLICATE)
        message = "limit and page_size mean the same: give one of them, or the same number twice."
        raise bad_request("invalid_parameter", message, found)
    return ("page_size", page_size) if limit is None else ("limit", limit)


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
    return _invalid("cursor", cursor, "Invalid cursor.", "one that a response contained")


def _invalid(name: str, value: str, detail: str, expected: str) -> Problem:
    found = finding(name, value, Rule.RANGE, expected=expected)
    return bad_request("invalid_parameter", detail, found)
