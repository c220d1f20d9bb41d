"""``/enrollments`` and ``/changes``: everything, for who may see it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlencode

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.media import keep_private, write_json
from api_gateway.problems import Problem, bad_request
from api_gateway.records import Records
from api_gateway.resources.bodies import MAX_PAGE, cursor_at, place_of
from enrollment.domain.coursekeys import parse_course_key
from enrollment.domain.model import microseconds
from enrollment.storage import changes, enrollment_views
from enrollment.storage.enrollment_views import Filters, Place
from schemas.changes import ChangesJson, EventJson, dump_event
from schemas.enrollments import EnrollmentPageJson, dump_row
from schemas.fields import is_storable, parse_username

#: Values in one filter at most (upstream's limit).
MOST = 100
DEFAULT_PAGE = 100
DEFAULT_CHANGES = 1_000
_MAX_POSITION = 1 << 62
_MAX_DIGITS = 20
_LAST_MOMENT = microseconds(datetime.max.replace(tzinfo=UTC))
_MODERN = "course-v1:"
#: What narrows the listing, and goes on to the next page.
_NARROWING = ("course_id", "course_ids", "username", "email", "page_size")
#: Filters that take a list, and what upstream calls their values.
_PLURALS = {"course_ids": "course_ids", "username": "usernames", "email": "emails"}
#: A key that no course has.
_NO_COURSE = ("",)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentsResource:
    """The listing of all enrollments (openedx-v1 1.10), inactive ones too, newest first."""

    records: Records

    async def on_get(self, req: Request, resp: Response) -> None:
        """A cursor page; every filter given must hold."""
        keep_private(resp)
        filters = read_filters(req)
        limit = _rows(req)
        found, after = await self.records.read(
            enrollment_views.page, filters, after=_read_place(req), limit=limit
        )
        page: EnrollmentPageJson = {
            "next": None if after is None else _link(req, cursor_at(".".join(map(str, after)))),
            "previous": None,
            "results": [dump_row(one.username, one.course_id, one.enrollment) for one in found],
        }
        write_json(resp, page)

    on_head = on_get


def read_filters(req: Request) -> Filters:
    """The filters of a query. Raises Problem 400 in upstream's shape."""
    given = {name: _values(req, name) for name in ("course_id", "course_ids", "username", "email")}
    errors: dict[str, str] = {}
    for name in _PLURALS:
        if req.has_param(name) and (wrong := _wrong_number(name, len(given[name]))):
            errors[name] = wrong
    for course_id in given["course_id"]:
        if parse_course_key(course_id) is None:
            errors["course_id"] = f"'{course_id[:100]}' is not a valid course id."
    for username in given["username"]:
        if parse_username(username) is None:
            errors.setdefault("username", f"'{username[:100]}' is not a valid username.")
    for name in ("course_ids", "email"):
        if not all(map(is_storable, given[name])):
            errors.setdefault(name, f"{name} holds a character that no record can hold.")
    if errors:
        raise _field_errors(errors)
    whole, prefixes = _courses(given["course_id"], given["course_ids"])
    return Filters(whole, prefixes, usernames=given["username"], emails=given["email"])


def _wrong_number(name: str, number: int) -> str | None:
    """What is wrong with so many values; none would narrow to nobody and list everybody."""
    if number == 0:
        return f"{name} is given and names none."
    if number <= MOST:
        return None
    return (
        f"Too many {_PLURALS[name]} in a single request - {number}. A maximum of {MOST} is allowed"
    )


def _courses(
    exact: tuple[str, ...], listed: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys and the ``org+course`` prefixes that both parameters leave."""
    if not listed:
        return exact, ()
    whole: set[str] = set()
    prefixes: set[str] = set()
    for text in listed:
        # Clients leave out the beginning that most keys share.
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
    """A parameter's values: a comma list, the last where it is given twice."""
    text = req.get_param(name) or ""
    values = text.split(",") if name != "course_id" else [text]
    return tuple(value for value in values if value)


def _field_errors(errors: dict[str, str]) -> Problem:
    return Problem(
        HTTPStatus.BAD_REQUEST,
        "invalid_parameter",
        next(iter(errors.values())),
        errors=[{"field": name, "rule": text} for name, text in errors.items()],
        members={
            "field_errors": {name: {"developer_message": text} for name, text in errors.items()}
        },
    )


def _read_place(req: Request) -> Place | None:
    """Where the page begins. Raises Problem 404 for a cursor that is none (as upstream)."""
    try:
        text = place_of(req)
    except Problem as problem:
        raise _invalid_cursor() from problem
    if text is None:
        return None
    parts = text.split(".")
    if len(parts) != len(Place._fields) or not all(part.isdecimal() for part in parts):
        raise _invalid_cursor()
    place = Place(*(min(int(part[:19]), _MAX_POSITION) for part in parts))
    if place.created > _LAST_MOMENT:
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
    """The next page's address: the same filters, one cursor."""
    kept = {name: req.get_param(name) for name in _NARROWING if req.has_param(name)}
    return f"{req.prefix}{req.path}?{urlencode({**kept, 'cursor': cursor})}"


def _rows(req: Request) -> int:
    """Rows on a page: never more than the most; what is no number of rows means the usual."""
    text = req.get_param("page_size") or ""
    if not (text.isascii() and text.isdigit()):
        return DEFAULT_PAGE
    digits = text.lstrip("0")
    wanted = MAX_PAGE if len(digits) > len(str(MAX_PAGE)) else int(digits or "0")
    return min(wanted, MAX_PAGE) or DEFAULT_PAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesResource:
    """The feed of events: gapless positions, nothing is ever passed over."""

    records: Records

    async def on_get(self, req: Request, resp: Response) -> None:
        """The events after a position; ``next`` equals ``since`` at the end."""
        keep_private(resp)
        since = _whole(req, "since", 0, _MAX_POSITION)
        limit = _whole(req, "limit", DEFAULT_CHANGES, MAX_PAGE) or DEFAULT_CHANGES
        shown = await self.records.read(_since, since, limit)
        last = shown[-1]["data"]["position"] if shown else since
        page: ChangesJson = {"changes": shown, "next": last}
        write_json(resp, page)

    on_head = on_get


def _since(session: Session, since: int, limit: int) -> list[EventJson]:
    return [dump_event(event) for event in changes.since(session, since, limit=limit)]


def _whole(req: Request, name: str, default: int, most: int) -> int:
    """A whole number from a query. Raises Problem 400 for anything else."""
    text = req.get_param(name)
    if text is None or text == "":
        return default
    is_whole = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    if not is_whole or int(text) > most:
        found = {"field": name, "value": text[:100], "rule": f"0 to {most}"}
        raise bad_request(
            "invalid_parameter", f"{name} must be a whole number from 0 to {most}.", found
        )
    return int(text)
