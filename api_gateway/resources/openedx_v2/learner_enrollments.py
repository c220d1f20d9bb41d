"""`/enrollment` of version 2: requests one enrollment, lists those of a learner in pages.

See "Version 2" in docs/openedx-compatibility.md.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.permissions import ListedLearner, listed_learner
from api_gateway.http.problems import bad_request
from api_gateway.http.responses import write_json
from api_gateway.resources.common.numbered_pages import (
    PageNumber,
    no_such_page,
    page_link,
    read_page_number,
)
from api_gateway.resources.enrollment import EnrollmentResource
from api_gateway.resources.openedx_v2.v2_problems import v2_problems
from enrollment.domain.identity import canonical_text
from enrollment.domain.model import Course
from enrollment.storage import courses
from enrollment.storage.views import numbered_pages
from enrollment.storage.views.numbered_pages import CountedPage, PageBounds
from schemas.enrollments import EnrollmentJson, EnrollmentRowJson, dump_enrollment, dump_row
from schemas.fields import is_storable
from schemas.findings import Rule, finding
from schemas.openedx.numbered_pages import LearnerPageJson

#: Values of `ordering`; the order of creation is that of ids too.
ORDERINGS = ("created", "-created", "id", "-id")
MINIMAL = "minimal"
#: Parameters repeated in the links to other pages.
_REPEATED = ("user", "username", "page_size", "ordering", "view")


class ListOptions(NamedTuple):
    """The options of a request for a list."""

    named: str
    page: PageNumber
    newest_first: bool
    is_minimal: bool


class _Found(NamedTuple):
    page: CountedPage
    #: By id; empty in the minimal view.
    courses: dict[str, Course]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerEnrollmentsResource:
    """Requests as in version 1; all enrollments of one learner, in numbered pages."""

    requests: EnrollmentResource

    async def on_post(self, req: Request, resp: Response) -> None:
        """Stores one request; responds 202, or with the outcome if the caller waits."""
        with v2_problems():
            await self.requests.on_post(req, resp)

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists a page, oldest first; of others only in courses of their staff."""
        options = _read_options(req)
        listed = listed_learner(req.context.caller, options.named)
        found = await self._find(listed, options)
        number, total = options.page.number, found.page.total
        pages = options.page.of(total)
        if number > pages:
            raise no_such_page()
        has_next, has_previous = number < pages, number > 1
        body: LearnerPageJson = {
            "count": total,
            "num_pages": pages,
            "current_page": number,
            "start": options.page.start,
            "next": page_link(req, _REPEATED, page=number + 1) if has_next else None,
            "previous": page_link(req, _REPEATED, page=number - 1) if has_previous else None,
            "results": self._render(found) if not options.is_minimal else _minimal(found),
        }
        write_json(resp, body)

    on_head = on_get

    async def _find(self, listed: ListedLearner | None, options: ListOptions) -> _Found:
        if listed is None or not is_storable(listed.username):
            return _Found(CountedPage([], 0), {})
        page = options.page
        bounds = PageBounds(page.start, page.size, newest_first=options.newest_first)
        return await self.requests.database.read(
            _find_page, listed, bounds, with_courses=not options.is_minimal
        )

    def _render(self, found: _Found) -> list[EnrollmentJson]:
        now = self.requests.now()
        return [
            dump_enrollment(row.username, row.enrollment, found.courses.get(row.course_id), at=now)
            for row in found.page.rows
        ]


def _minimal(found: _Found) -> list[EnrollmentRowJson]:
    return [dump_row(row.username, row.course_id, row.enrollment) for row in found.page.rows]


def _read_options(req: Request) -> ListOptions:
    """Reads the parameters; unknown ones are ignored. Raises Problem 400, 404."""
    ordering = _one_of(req, "ordering", ORDERINGS) or ORDERINGS[0]
    return ListOptions(
        canonical_text(_read_learner(req)),
        read_page_number(req),
        newest_first=ordering.startswith("-"),
        is_minimal=_one_of(req, "view", (MINIMAL,)) == MINIMAL,
    )


def _read_learner(req: Request) -> str:
    """Returns the learner who is named as `user` or `username`. Raises Problem 400 for two."""
    user, username = req.get_param("user") or "", req.get_param("username") or ""
    if user and username and user != username:
        found = finding("username", username, Rule.DUPLICATE)
        message = "user and username mean the same: give one of them."
        raise bad_request("invalid_parameter", message, found)
    return user or username


def _one_of(req: Request, name: str, known: Collection[str]) -> str | None:
    """Returns a parameter; None if it is missing or empty. Raises Problem 400 for other values."""
    text: str | None = req.get_param(name) or None
    if text is not None and text not in known:
        expected = f"one of {', '.join(known)}"
        found = finding(name, text, Rule.ONE_OF, expected=expected)
        raise bad_request("invalid_parameter", f"{name} must be {expected}.", found)
    return text


def _find_page(
    session: Session, listed: ListedLearner, bounds: PageBounds, *, with_courses: bool
) -> _Found:
    page = numbered_pages.page_of_learner(session, listed.username, bounds, staff=listed.staff)
    wanted = {row.course_id for row in page.rows} if with_courses else set()
    return _Found(page, courses.find_all(session, wanted))
