"""`/enrollments`: lists all enrollments.

See "Listing of all enrollments" in docs/openedx-compatibility.md.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlencode

from falcon.asgi import Request, Response

from api_gateway.database import ListReader
from api_gateway.http.headers import restore_plus
from api_gateway.http.pagination import (
    DEFAULT_PAGE,
    MAX_PAGE,
    encode_cursor,
    read_cursor,
    read_size_parameter,
)
from api_gateway.http.problems import Problem
from api_gateway.http.responses import write_json
from enrollment.domain.course_keys import parse_course_key
from enrollment.domain.identity import canonical_text
from enrollment.domain.model import microseconds
from enrollment.storage.views import enrollment_views
from enrollment.storage.views.enrollment_views import EnrollmentFilters, EnrollmentPageKey
from schemas.enrollments import EnrollmentPageJson, dump_row
from schemas.fields import is_storable, parse_username, username_rule
from schemas.findings import Finding, Rule, display_value, finding
from schemas.requests.near_miss import similar_name

#: Maximum number of values in one filter, as in Open edX.
MAX_FILTER_VALUES = 100
_MAX_CURSOR_NUMBER = 1 << 62
_MAX_TIMESTAMP = microseconds(datetime.max.replace(tzinfo=UTC))
#: Prefix of a course key that filters may leave out.
_COURSE_KEY_PREFIX = "course-v1:"
#: Parameters repeated in the link to the next page.
_FILTERS = ("course_id", "course_ids", "username", "email", "page_size", "limit")
_FILTER_NAMES = frozenset({"course_id", "course_ids", "username", "email"})
#: Names of the filters on other routes.
_OTHER_FILTERS = {"user": "username", "course": "course_id", "course_key": "course_id"}
#: The plural that Open edX uses in messages, where the name of the parameter is none.
_PLURALS = {"username": "usernames", "email": "emails"}
#: A course filter that matches nothing.
_NO_COURSE = ("",)


class ListParameters(NamedTuple):
    """The names of the parameters of a list of all enrollments."""

    #: Of the filters by course, those that the request uses.
    course_id: str
    course_ids: str
    #: Of all filters.
    filters: frozenset[str]
    #: Of parameters that are no filters.
    others: frozenset[str]


V1_PARAMETERS = ListParameters(
    "course_id", "course_ids", _FILTER_NAMES, frozenset({"page_size", "limit", "cursor"})
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentsResource:
    """All enrollments, including inactive ones, newest first."""

    lists: ListReader

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists a page of the enrollments that match all filters."""
        filters = read_filters(req, V1_PARAMETERS)
        limit = _read_page_size(req)
        found, after = await self.lists.read(
            enrollment_views.page, filters, after=_read_position(req), limit=limit
        )
        page: EnrollmentPageJson = {
            "next": None if after is None else _link(req, encode_cursor(encode_position(after))),
            "previous": None,
            "results": [dump_row(row.username, row.course_id, row.enrollment) for row in found],
        }
        write_json(resp, page)

    on_head = on_get


def read_filters(req: Request, names: ListParameters) -> EnrollmentFilters:
    """Reads the filters. Raises Problem 400 with `field_errors` as Open edX does."""
    course = _given(req, names.course_id)
    exact = (course,) if course else ()
    listed = {name: _values(req, name) for name in (names.course_ids, "username", "email")}
    errors = _misspelt_filters(req, names)
    for name, values in listed.items():
        if req.has_param(name) and (error := _check_count(name, len(values))):
            rule = Rule.LENGTH if values else Rule.REQUIRED
            errors[name] = finding(name, req.get_param(name), rule, error)
    if course and parse_course_key(course) is None:
        message = f"'{course[:100]}' is not a valid course id."
        errors[names.course_id] = finding(names.course_id, course, "course_key", message)
    for username in listed["username"]:
        if parse_username(username) is None:
            message = f"'{username[:100]}' is not a valid username."
            item = finding("username", username, username_rule(username), message)
            errors.setdefault("username", item)
    for name in (names.course_ids, "email"):
        if not all(map(is_storable, listed[name])):
            message = f"{name} contains a NUL or an unpaired surrogate."
            item = finding(name, req.get_param(name), "characters", message)
            errors.setdefault(name, item)
    if errors:
        raise _field_errors(errors)
    course_ids, prefixes = _combine_course_filters(exact, listed[names.course_ids])
    usernames = tuple(map(canonical_text, listed["username"]))
    return EnrollmentFilters(course_ids, prefixes, usernames=usernames, emails=listed["email"])


def _misspelt_filters(req: Request, names: ListParameters) -> dict[str, Finding]:
    """Returns a finding for each unknown parameter that looks like a filter.

    Open edX ignores unknown parameters; an ignored filter would list the enrollments of others.
    """
    errors: dict[str, Finding] = {}
    for name in req.params.keys() - names.filters - names.others:
        near = _OTHER_FILTERS.get(name) or similar_name(name, names.filters)
        if near is not None:
            message = f"Unknown filter '{name[:100]}': did you mean {near}?"
            item = finding(name, req.params[name], Rule.UNKNOWN_MEMBER, message, expected=near)
            errors[str(display_value(name))] = item
    return errors


def _check_count(name: str, number: int) -> str | None:
    """Returns an error for too many values or none; an empty filter would match all rows."""
    if number == 0:
        return f"{name} is empty."
    if number <= MAX_FILTER_VALUES:
        return None
    plural = _PLURALS.get(name, name)
    most = f"A maximum of {MAX_FILTER_VALUES} is allowed"
    return f"Too many {plural} in a single request - {number}. {most}"


def _combine_course_filters(
    exact: tuple[str, ...], listed: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the course keys and `org+course` prefixes that match both parameters."""
    if not listed:
        return exact, ()
    course_ids: set[str] = set()
    prefixes: set[str] = set()
    for text in listed:
        # Clients may leave out the prefix of the key.
        for form in (text, _COURSE_KEY_PREFIX + text.removeprefix(_COURSE_KEY_PREFIX)):
            runs = (f"{form}+run", f"{form}/run")
            is_prefix = any(parse_course_key(run) is not None for run in runs)
            (prefixes if is_prefix else course_ids).add(form)
    if not exact:
        return tuple(course_ids), tuple(prefixes)
    starts = tuple(prefix + mark for prefix in prefixes for mark in "+/")
    both = tuple(key for key in exact if key in course_ids or key.startswith(starts))
    return both or _NO_COURSE, ()


def _values(req: Request, name: str) -> tuple[str, ...]:
    """Splits a parameter at commas; if it is repeated, the last one counts."""
    return tuple(value for value in (_given(req, name) or "").split(",") if value)


def _given(req: Request, name: str) -> str | None:
    text: str | None = req.get_param(name)
    return restore_plus(text) if text and name.startswith("course_") else text


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


def _read_position(req: Request) -> EnrollmentPageKey | None:
    """Reads the start of the page, None for the first. Raises Problem 404 as Open edX does."""
    try:
        text = read_cursor(req)
    except Problem as problem:
        raise _invalid_cursor() from problem
    return None if text is None else decode_position(text)


def encode_position(key: EnrollmentPageKey) -> str:
    """Encodes the key of the last row of a page."""
    return ".".join(map(str, key))


def decode_position(text: str) -> EnrollmentPageKey:
    """Decodes the key of a row. Raises Problem 404 as Open edX does."""
    parts = text.split(".")
    if len(parts) != len(EnrollmentPageKey._fields) or not all(part.isdecimal() for part in parts):
        raise _invalid_cursor()
    position = EnrollmentPageKey(*(min(int(part[:19]), _MAX_CURSOR_NUMBER) for part in parts))
    if position.created > _MAX_TIMESTAMP:
        raise _invalid_cursor()
    return position


def _invalid_cursor() -> Problem:
    return Problem(
        HTTPStatus.NOT_FOUND,
        "invalid_parameter",
        "Invalid cursor",
        members={"developer_message": "Invalid cursor"},
    )


def _link(req: Request, cursor: str) -> str:
    """Returns the URL of the next page, with the same filters."""
    repeated = {name: _given(req, name) for name in _FILTERS if req.has_param(name)}
    return f"{req.prefix}{req.path}?{urlencode({**repeated, 'cursor': cursor})}"


def _read_page_size(req: Request) -> int:
    """Reads the page size, at most `MAX_PAGE`; an invalid number means the default."""
    _, text = read_size_parameter(req)
    text = text or ""
    if not (text.isascii() and text.isdigit()):
        return DEFAULT_PAGE
    digits = text.lstrip("0")
    size = MAX_PAGE if len(digits) > len(str(MAX_PAGE)) else int(digits or "0")
    return min(size, MAX_PAGE) or DEFAULT_PAGE
