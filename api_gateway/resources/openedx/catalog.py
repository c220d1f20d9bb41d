"""`/api/courses/v1/courses`: the courses, in numbered pages, and each by its id.

See "Courses" in docs/openedx-compatibility.md.
"""

from dataclasses import dataclass

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.database import Database, ListReader
from api_gateway.http.responses import write_json
from api_gateway.resources.common.numbered_pages import (
    no_such_page,
    page_link,
    read_page_number,
)
from api_gateway.resources.courses import check_course_key
from enrollment.domain.errors import CourseNotFound
from enrollment.domain.model import Course
from enrollment.storage import courses
from enrollment.storage.views import catalog
from schemas.fields import is_storable
from schemas.openedx.catalog import CatalogPageJson, dump_catalog_course

#: Parameters repeated in the links to other pages.
_REPEATED = ("org", "page_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogResource:
    """All courses, for every caller."""

    lists: ListReader

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists a page of courses, ordered by id. Raises Problem 404 for a page that is none."""
        page = read_page_number(req)
        org = req.get_param("org") or None
        found, count = await self.lists.read(_read_page, org, start=page.start, limit=page.size)
        pages = page.of(count)
        if page.number > pages:
            raise no_such_page()
        has_next, has_previous = page.number < pages, page.number > 1
        body: CatalogPageJson = {
            "results": [dump_catalog_course(course) for course in found],
            "pagination": {
                "next": page_link(req, _REPEATED, page=page.number + 1) if has_next else None,
                "previous": (
                    page_link(req, _REPEATED, page=page.number - 1) if has_previous else None
                ),
                "count": count,
                "num_pages": pages,
            },
        }
        write_json(resp, body)

    on_head = on_get


class CatalogCourseResource:
    """One course, for every caller."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def on_get(self, req: Request, resp: Response, course_id: str) -> None:
        """Responds with the course. Raises Problem 400, CourseNotFound."""
        course = await self._database.read(courses.find, check_course_key(course_id))
        if course is None:
            raise CourseNotFound(course_id)
        write_json(resp, dump_catalog_course(course))

    on_head = on_get


def _read_page(
    session: Session, org: str | None, *, start: int, limit: int
) -> tuple[list[Course], int]:
    """Returns the courses of a page and the number of all courses."""
    if org is not None and not is_storable(org):
        return [], 0
    return catalog.numbered_page(session, org, start=start, limit=limit)
