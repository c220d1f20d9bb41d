"""Reads enrollments and courses of an LMS, page by page."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import structlog
from marshmallow import ValidationError

from enrollment.domain.course_keys import parse_course_key
from enrollment.domain.destinations.records import RemoteCourse, RemoteState
from enrollment.domain.model import Course
from schemas.courses import load_course
from schemas.fields import is_storable
from worker.destinations.openedx.answers import LmsAnswer, LmsFailure
from worker.destinations.openedx.session import LmsSession

log = structlog.get_logger()

ENROLLMENTS_PATH = "/api/enrollment/v1/enrollments"
COURSE_PATH = "/api/enrollment/v1/course/"
CATALOG_PATH = "/api/courses/v1/courses/"
#: Rows that are asked for; an LMS may send fewer.
PAGE_SIZE = 100
#: Bytes of a page, of which an LMS sends less than 100 kB.
MAX_PAGE_BYTES = 4 << 20
#: Pages of one list; one with more has no end.
MAX_LIST_PAGES = 1_000_000
#: Longest value of a cursor that is sent back.
_MAX_CURSOR = 2_000
#: Attempts to read one page, and the longest wait between two, in seconds.
MAX_ATTEMPTS, LONGEST_PAUSE = 6, 60.0
_NOT_FOUND = frozenset({400, 404})
_MAX_MODE, _MAX_USERNAME = 100, 255
#: The start of a list.
_BEGINNING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class LmsReader:
    """Reads an LMS; a page that fails is asked for again before the whole is given up."""

    session: LmsSession
    pause: Callable[[float], None] = time.sleep

    def list_pages(
        self, course_id: str | None, start: Mapping[str, str] = _BEGINNING
    ) -> Iterator[tuple[tuple[RemoteState, ...], Mapping[str, str] | None]]:
        """Yields the enrollments of a course, or all, with the start of the next page.

        Raises LmsFailure.
        """
        filters = {"page_size": str(PAGE_SIZE)}
        if course_id is not None:
            filters["course_id"] = course_id
        pages = self._pages(ENROLLMENTS_PATH, filters, lambda page: page.get("next"), start)
        for page, following in pages:
            yield tuple(map(_state, _rows(page))), following

    def read_courses(self) -> Iterator[RemoteCourse]:
        """Yields the courses. Raises LmsFailure."""
        filters = {"page_size": str(PAGE_SIZE)}
        for page, _ in self._pages(CATALOG_PATH, filters, _catalog_next):
            for row in _rows(page):
                course_id = row.get("course_id") or row.get("id")
                if not isinstance(course_id, str) or parse_course_key(course_id) is None:
                    raise LmsFailure("malformed_answer")
                if (course := self._read_course(course_id)) is not None:
                    yield course

    def _read_course(self, course_id: str) -> RemoteCourse | None:
        """Returns a course with all its modes; None if it is not one that can be enrolled in."""
        path = COURSE_PATH + quote(course_id, safe="")
        answer = self._get(path, {"include_expired": "1"})
        members = answer.members()
        if answer.status in _NOT_FOUND:
            return None
        if members is None or not answer.is_success:
            raise LmsFailure("malformed_answer", answer)
        try:
            return _course(load_course(_known(members), course_id=course_id))
        except ValidationError as error:
            log.warning("destination.malformed_course", course_id=course_id, because=str(error))
            return None

    def _pages(
        self,
        path: str,
        filters: Mapping[str, str],
        next_of: Callable[[dict[str, Any]], object],
        start: Mapping[str, str] = _BEGINNING,
    ) -> Iterator[tuple[dict[str, Any], Mapping[str, str] | None]]:
        """Yields pages, each with the start of the next one.

        Raises LmsFailure for a page that is none, and for a list without end.

        A place is kept at each power of two: pages that go in a circle come to it again.
        """
        place = kept = start
        for number in range(1, MAX_LIST_PAGES + 1):
            answer = self._get(path, {**filters, **place})
            page = answer.members()
            if page is None or not answer.is_success:
                raise LmsFailure("malformed_answer" if answer.is_success else "refused", answer)
            link = next_of(page)
            following = None if link is None else self._place_of(link, path)
            if following in (place, kept):
                raise LmsFailure("repeated_page", answer)
            yield page, following
            if following is None:
                return
            if number & (number - 1) == 0:
                kept = following
            place = following
        raise LmsFailure("too_many_pages")

    def _place_of(self, link: object, path: str) -> Mapping[str, str]:
        """Returns the cursor or the page number of a link. Raises LmsFailure.

        Nothing else of a link is used: the next page is read from the address of the destination.
        An LMS behind a proxy often writes its links with `http`.
        """
        if not isinstance(link, str):
            raise LmsFailure("malformed_answer")
        root = urlsplit(self.session.root)
        try:
            parts = urlsplit(urljoin(self.session.root + path, link))
            query = parse_qs(parts.query, max_num_fields=50)
        except ValueError as error:
            raise LmsFailure("malformed_answer") from error
        if parts.hostname != root.hostname:
            raise LmsFailure("foreign_link")
        for name in ("cursor", "page"):
            if query.get(name) and len(query[name][0]) <= _MAX_CURSOR:
                return {name: query[name][0]}
        raise LmsFailure("malformed_answer")

    def _get(self, path: str, params: Mapping[str, str]) -> LmsAnswer:
        """Reads until there is an answer that is no refusal for now. Raises LmsFailure."""
        attempt = 1
        while True:
            try:
                answer = self.session.get(path, params, limit=MAX_PAGE_BYTES)
                if not _is_temporary(answer):
                    return answer
                failure = LmsFailure("refused", answer)
            except LmsFailure as error:
                failure = error
            refused = failure.answer
            if attempt >= MAX_ATTEMPTS or not (refused is None or _is_temporary(refused)):
                raise failure
            retry_after = 0.0 if refused is None else refused.retry_after
            self.pause(min(max(retry_after, 2.0 ** (attempt - 1)), LONGEST_PAUSE))
            attempt += 1


def _is_temporary(answer: LmsAnswer) -> bool:
    return answer.status == 429 or answer.status >= 500 or not answer.is_whole  # noqa: PLR2004


def _catalog_next(page: dict[str, Any]) -> object:
    pagination = page.get("pagination")
    return pagination.get("next") if isinstance(pagination, dict) else page.get("next")


def _rows(page: dict[str, Any]) -> list[dict[str, Any]]:
    rows = page.get("results")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise LmsFailure("malformed_answer")
    return rows


def _state(row: dict[str, Any]) -> RemoteState:
    """Returns the state in a row. Raises LmsFailure for one that cannot be an enrollment."""
    course_id, user, mode = row.get("course_id"), row.get("user"), row.get("mode")
    is_active = row.get("is_active")
    if (
        not _is_text(course_id, 255)
        or not _is_text(user, _MAX_USERNAME)
        or not _is_text(mode, _MAX_MODE)
        or not isinstance(is_active, bool)
    ):
        raise LmsFailure("malformed_answer")
    return RemoteState(str(course_id), str(user), str(mode), is_active, _moment(row.get("created")))


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and is_storable(value)


def _moment(value: object) -> datetime | None:
    """Returns a time with a zone, in UTC; None for anything else, and out of the calendar."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


#: The members of a course that are kept like the LMS's.
_COURSE_MEMBERS = (
    "course_name",
    "enrollment_start",
    "enrollment_end",
    "course_start",
    "course_end",
    "invite_only",
)
_MODE_MEMBERS = (
    "slug",
    "name",
    "min_price",
    "suggested_prices",
    "currency",
    "expiration_datetime",
    "description",
    "sku",
    "bulk_sku",
)


def _known(members: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the members that this service reads; newer releases of the LMS send more."""
    known = {name: members[name] for name in _COURSE_MEMBERS if name in members}
    modes = members.get("course_modes", [])
    known["course_modes"] = [_known_mode(each) for each in modes] if _is_list(modes) else modes
    return known


def _known_mode(mode: object) -> object:
    if not isinstance(mode, dict):
        return mode
    return {name: mode[name] for name in _MODE_MEMBERS if name in mode}


def _is_list(modes: object) -> bool:
    return isinstance(modes, list)


def _course(course: Course) -> RemoteCourse:
    return RemoteCourse(
        course.course_id,
        course.name,
        course.course_start,
        course.course_end,
        course.enrollment_start,
        course.enrollment_end,
        course.invite_only,
        course.modes,
    )
