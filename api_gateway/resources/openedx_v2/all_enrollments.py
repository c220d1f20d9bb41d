"""`/enrollments` of version 2: lists all enrollments in numbered pages.

See "Version 2" in docs/openedx-compatibility.md and docs/decisions/0025-v2-pages.md.
"""

from dataclasses import dataclass
from typing import NamedTuple

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.database import ListReader
from api_gateway.http.pagination import encode_cursor, read_cursor
from api_gateway.http.problems import Problem, bad_request
from api_gateway.http.responses import write_json
from api_gateway.resources.common.numbered_pages import (
    PageNumber,
    no_such_page,
    page_link,
    read_page_number,
)
from api_gateway.resources.enrollments import (
    ListParameters,
    decode_position,
    encode_position,
    read_filters,
)
from api_gateway.resources.openedx_v2.course_parameters import given_name
from api_gateway.resources.openedx_v2.enrollment_counts import EnrollmentCounts
from enrollment.storage.views import enrollment_views, numbered_pages
from enrollment.storage.views.enrollment_views import EnrollmentFilters, EnrollmentPageKey
from enrollment.storage.views.numbered_pages import PageOfAll
from schemas.enrollments import dump_row
from schemas.findings import Rule, finding
from schemas.openedx.numbered_pages import AllPageJson

#: Maximum number of rows before a page that is asked for by its number alone.
MAX_SKIPPED_ROWS = 10_000
#: Maximum number of digits of a page in a cursor.
_MAX_DIGITS = 12
_FILTERS = ("course_key", "course_keys", "course_id", "course_ids", "username", "email")
#: Parameters repeated in the links to other pages.
_REPEATED = (*_FILTERS, "page_size")
_OTHERS = frozenset({"page", "page_size", "cursor"})


class Place(NamedTuple):
    """The page that is asked for."""

    page: PageNumber
    #: The key of the row before it; None if the page is found by its number.
    after: EnrollmentPageKey | None


class _FoundPage(NamedTuple):
    page: PageOfAll
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AllEnrollmentsResource:
    """All enrollments, including inactive ones, newest first."""

    lists: ListReader
    counts: EnrollmentCounts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists a page of the enrollments that match all filters."""
        names = ListParameters(
            given_name(req, resp, "course_key"),
            given_name(req, resp, "course_keys"),
            frozenset(_FILTERS),
            _OTHERS,
        )
        filters = read_filters(req, names)
        place = read_place(req)
        (rows, key), total = await self.lists.read(self._find, filters, place)
        number = place.page.number
        if not rows and number > 1:
            raise no_such_page()
        body: AllPageJson = {
            "count": total,
            "num_pages": max(number, place.page.of(total)),
            "current_page": number,
            "start": place.page.start,
            "next": None if key is None else _next_link(req, number + 1, key),
            "previous": _previous_link(req, place.page),
            "results": [dump_row(row.username, row.course_id, row.enrollment) for row in rows],
        }
        write_json(resp, body)

    on_head = on_get

    def _find(self, session: Session, filters: EnrollmentFilters, place: Place) -> _FoundPage:
        start, limit = place.page.start, place.page.size
        if place.after is None:
            found = numbered_pages.page_of_all(session, filters, start=start, limit=limit)
        else:
            rows = enrollment_views.page(session, filters, after=place.after, limit=limit)
            found = PageOfAll(*rows)
        seen = start + len(found.rows)
        if found.key is None and (place.after is None or not found.rows):
            return _FoundPage(found, seen)  # the last page tells how many there are
        return _FoundPage(found, self.counts.count(session, filters, at_least=seen))


def read_place(req: Request) -> Place:
    """Reads the page, from its number or from the cursor of the page before.

    Raises Problem 404 for a page or a cursor that is none, 400 for a page that only a cursor
    reaches.
    """
    page = read_page_number(req)
    text = _read_cursor(req)
    if text is not None:
        number, _, key = text.partition(".")
        if not (number.isdecimal() and len(number) <= _MAX_DIGITS and int(number) > 0):
            raise no_such_page()
        if not req.get_param("page") or page.number == int(number):
            return Place(page._replace(number=int(number)), decode_position(key))
    if page.start > MAX_SKIPPED_ROWS:
        last = MAX_SKIPPED_ROWS // page.size + 1
        found = finding("page", req.get_param("page"), Rule.RANGE, expected=f"1 to {last}")
        message = (
            f"Pages with more than {MAX_SKIPPED_ROWS} rows before them are reached by the link "
            "`next` of the page before. Or add a filter, or read the list of version 1, "
            "/api/enrollment/v1/enrollments, by its cursor."
        )
        raise bad_request("invalid_parameter", message, found)
    return Place(page, None)


def _read_cursor(req: Request) -> str | None:
    try:
        return read_cursor(req)
    except Problem as problem:
        raise no_such_page() from problem


def _next_link(req: Request, number: int, key: EnrollmentPageKey) -> str:
    cursor = encode_cursor(f"{number}.{encode_position(key)}")
    return page_link(req, _REPEATED, page=number, cursor=cursor)


def _previous_link(req: Request, page: PageNumber) -> str | None:
    """Returns None also where only a cursor leads: those lead forward."""
    previous = page._replace(number=page.number - 1)
    if previous.number < 1 or previous.start > MAX_SKIPPED_ROWS:
        return None
    return page_link(req, _REPEATED, page=previous.number)
