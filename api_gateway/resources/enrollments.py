"""``/enrollments``: all enrollments, for callers who may see them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlencode

from falcon.asgi import Request, Response

from api_gateway.database import Database
from api_gateway.http.pagination import DEFAULT_PAGE, MAX_PAGE, encode_cursor, read_cursor
from api_gateway.http.problems import Problem
from api_gateway.http.responses import keep_private, write_json
from enrollment.domain.course_keys import parse_course_key
from enrollment.domain.model import microseconds
from enrollment.storage.views import enrollment_views
from enrollment.storage.views.enrollment_views import Filters, Place
from schemas.enrollments import EnrollmentPageJson, dump_row
from schemas.fields import is_storable, parse_username
from schemas.findings import Finding, finding

#: Maximum number of values in one filter (Open edX's limit).
MAX_VALUES = 100
_MAX_POSITION = 1 << 62
_MAX_TIMESTAMP = microseconds(datetime.max.replace(tzinfo=UTC))
_MODERN = "course-v1:"
#: Parameters that the link to the next page repeats.
_FILTERS = ("course_id", "course_ids", "username", "email", "page_size")
#: Filters that take a list, and the plural that Open edX uses in messages.
_PLURALS = {"course_ids": "course_ids", "username": "usernames", "email": "emails"}
#: Course keys that match nothing.
_NO_COURSE = ("",)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentsResource:
    """All enrollments, inactive ones too, newest first (in the form of Open edX)."""

    database: Database

    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of the enrollments that match all filters."""
        keep_private(resp)
        filters = read_filters(req)
        limit = _read_page_size(req)
        found, after = await self.database.read(
            enrollment_views.page, filters, after=_read_position(req), limit=limit
        )
        page: EnrollmentPageJson = {
            "next": None if after is None else _link(req, encode_cursor(".".join(map(str, after)))),
            "previous": None,
            "results": [dump_row(one.username, one.course_id, one.enrollment) for one in found],
        }
        write_json(resp, page)

    on_head = on_get


def read_filters(req: Request) -> Filters:
    """Read the filters. Raises Problem 400 in the form of Open edX."""
    given = {name: _values(req, name) for name in ("course_id", "course_ids", "username", "email")}
    errors: dict[str, Finding] = {}
    for name in _PLURALS:
        if req.has_param(name) and (wrong := _check_count(name, len(given[name]))):
            rule = "length" if given[name] else "required"
            errors[name] = finding(name, req.get_param(name), rule, wrong)
    for course_id in given["course_id"]:
        if parse_course_key(course_id) is None:
            message = f"'{course_id[:100]}' is not a valid course id."
            errors["course_id"] = finding("course_id", course_id, "course_key", message)
    for username in given["username"]:
        if parse_username(username) is None:
            message = f"'{username[:100]}' is not a valid username."
            errors.setdefault("username", finding("username", username, "pattern", message))
    for name in ("course_ids", "email"):
        if not all(map(is_storable, given[name])):
            message = f"{name} contains a NUL or an unpaired surrogate."
            item = finding(name, req.get_param(name), "characters", message)
            errors.setdefault(name, item)
    if errors:
        raise _field_errors(errors)
    whole, prefixes = _courses(given["course_id"], given["course_ids"])
    return Filters(whole, prefixes, usernames=given["username"], emails=given["email"])


def _check_count(name: str, number: int) -> str | None:
    """Return an error for too many values, or none: an empty filter would list everybody."""
    if number == 0:
        return f"{name} is empty."
    if number <= MAX_VALUES:
        return None
    plural = _PLURALS[name]
    return f"Too many {plural} in a single request - {number}. A maximum of {MAX_VALUES} is allowed"


def _courses(
    exact: tuple[str, ...], listed: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The course keys and the ``org+course`` prefixes that match both parameters."""
    if not listed:
        return exact, ()
    whole: set[str] = set()
    prefixes: set[str] = set()
    for text in listed:
        # Clients may leave out the prefix that most keys share.
        for form in (text, _MODERN + text.removeprefix(_MODERN)):
            runs = (f"{form}+run", f"{form}/run")
            is_prefix = any(parse_course_key(run) is not None for run in runs)
            (prefixes if is_prefix else whole).add(form)
    if not exact:
        return tuple(whole), tuple(prefixes)
    starts = tuple(prefix + mark for prefix in prefixes for mark in "+/")
    both = tuple(key for key in exact if key in whole or key.startswith(starts))
    return both or _NO_COURSE, ()


def _values(req: Request, name: str) -> tuple[str, ...]:
    """A parameter's values, separated by commas; the last parameter if it is repeated."""
    text = req.get_param(name) or ""
    values = text.split(",") if name != "course_id" else [text]
    return tuple(value for value in values if value)


def _field_errors(errors: dict[str, Finding]) -> Problem:
    messages = {name: str(item["message"]) for name, item in errors.items()}
    return Problem(
        HTTPStatus.BAD_REQUEST,
        "invalid_parameter",
        next(iter(messages.values())),
        errors=[*errors.values()],
        members={
            "field_errors": {name: {"developer_message": text} for name, text in messages.items()}
        },
    )


def _read_position(req: Request) -> Place | None:
    """Read the position at which the page begins. Raises Problem 404 for an invalid cursor."""
    try:
        text = read_cursor(req)
    except Problem as problem:
        raise _invalid_cursor() from problem
    if text is None:
        return None
    parts = text.split(".")
    if len(parts) != len(Place._fields) or not all(part.isdecimal() for part in parts):
        raise _invalid_cursor()
    place = Place(*(min(int(part[:19]), _MAX_POSITION) for part in parts))
    if place.created > _MAX_TIMESTAMP:
        raise _invalid_cursor()
    return place


def _invalid_cursor() -> Problem:
    return Problem(
        HTTPStatus.NOT_FOUND,
        "invalid_parameter",
        "Invalid cursor",
        members={"developer_message": "Invalid cursor"},
    )


def _link(req: Request, cursor: str) -> str:
    """The URL of the next page: the same filters, one cursor."""
    kept = {name: req.get_param(name) for name in _FILTERS if req.has_param(name)}
    return f"{req.prefix}{req.path}?{urlencode({**kept, 'cursor': cursor})}"


def _read_page_size(req: Request) -> int:
    """Rows on a page, at most `MAX_PAGE`; invalid numbers mean the default."""
    text = req.get_param("page_size") or ""
    if not (text.isascii() and text.isdigit()):
        return DEFAULT_PAGE
    digits = text.lstrip("0")
    wanted = MAX_PAGE if len(digits) > len(str(MAX_PAGE)) else int(digits or "0")
    return min(wanted, MAX_PAGE) or DEFAULT_PAGE
