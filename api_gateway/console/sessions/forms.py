"""Forms of the console: their fields, and the token that proves that a page of ours sent them."""

import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from falcon.asgi import Request

from api_gateway.console.sessions.cookies import LOGIN_COOKIE, read_cookie
from api_gateway.http.problems import Problem, bad_request, forbidden
from api_gateway.http.request_body import read_body

#: Name of the field with the token.
TOKEN_FIELD = "form_token"  # noqa: S105 (no secret)
MAX_FORM_BYTES = 64_000
MAX_FIELDS = 100
_SAME_SITE = frozenset({"same-origin", "none"})


async def read_form(req: Request) -> dict[str, str]:
    """Reads the fields of an urlencoded form, and checks its token.

    Raises Problem 400, 403, 413.
    """
    check_origin(req)
    body = await read_body(req, MAX_FORM_BYTES)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise bad_request("malformed_form", "The form cannot be read.") from error
    fields = dict(pairs)
    check_token(req, fields)
    fields.pop(TOKEN_FIELD)
    return fields


def check_token(req: Request, fields: Mapping[str, str]) -> None:
    """Raises Problem 403 unless the fields have the token of the session, or of the log-in page."""
    session = req.context.get("session")
    expected = read_cookie(req, LOGIN_COOKIE) if session is None else session.form_token
    given = fields.get(TOKEN_FIELD, "")
    if not expected or not hmac.compare_digest(expected.encode(), given.encode()):
        raise _foreign_form()


def check_origin(req: Request) -> None:
    """Raises Problem 403 for a form of another site, where the browser says so."""
    site, origin = req.get_header("Sec-Fetch-Site"), req.get_header("Origin")
    if site is not None and site not in _SAME_SITE:
        raise _foreign_form()
    if origin not in {None, "null"} and urlsplit(origin or "").netloc != req.get_header("Host"):
        raise _foreign_form()


def _foreign_form() -> Problem:
    return forbidden(
        "This form was not sent by a current page of the console.",
        "Open the page again, and send its form.",
    )
