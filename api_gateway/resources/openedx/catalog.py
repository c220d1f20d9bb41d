"""`/api/courses/v1/courses`: the courses, in numbered pages.

See "Courses" in docs/openedx-compatibility.md.
"""

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.database import ListReader
from api_gateway.http.problems import Problem
from api_gateway.http.responses import write_json
from enrollment.domain.model import Course
from enrollment.storage.views import catalog
from schemas.fields import is_storable
from schemas.openedx.catalog import CatalogPageJson, dump_catalog_course

DEFAULT_CATALOG_PAGE = 10
MAX_CATALOG_PAGE = 100
_MAX_DIGITS = 9
#: Parameters repeated in the links to other pages.
_REPEATED = ("org", "page_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogResource:
    """All courses, for everybody, as their details are."""

    lists: ListReader

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists a page of courses, ordered by id. Raises Problem 404 for a page that is none."""
        size = _number(req, "page_size") or DEFAULT_CATALOG_PAGE
        size = min(size, MAX_CATALOG_PAGE)
        page = _number(req, "page") if req.get_param("page") else 1
        org = req.get_param("org") or None
        if page is None:
            raise _no_page()
        found, count = await self.lists.read(_read_page, org, start=(page - 1) * size, limit=size)
        pages = max(1, -(-count // size))
        if page > pages:
            raise _no_page()
        body: CatalogPageJson = {
            "results": [dump_catalog_course(course) for course in found],
            "pagination": {
                "next": _link(req, page + 1) if page < pages else None,
                "previous": _link(req, page - 1) if page > 1 else None,
                "count": count,
                "num_pages": pages,
            },
        }
        write_json(resp, body)
        resp.set_header("Cache-Control", "public, no-cache")

    on_head = on_get


def _read_page(
    session: Session, org: str | None, *, start: int, limit: int
) -> tuple[list[Course], int]:
    """Returns the courses of a page and the number of all courses."""
    if org is not None and not is_storable(org):
        return [], 0
    return catalog.numbered_page(session, org, start=start, limit=limit)


def _number(req: Request, name: str) -> int | None:
    """Returns a positive whole number; None for anything else."""
    text = req.get_param(name) or ""
    if not (text.isascii() and text.isdigit()) or len(text.lstrip("0")) > _MAX_DIGITS:
        return None
    return int(text) or None


def _link(req: Request, page: int) -> str:
    """Returns the URL of another page, with the same filters."""
    repeated = {name: req.get_param(name) for name in _REPEATED if req.has_param(name)}
    return f"{req.prefix}{req.path}?{urlencode({**repeated, 'page': page})}"


def _no_page() -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "invalid_parameter", "Invalid page.")
