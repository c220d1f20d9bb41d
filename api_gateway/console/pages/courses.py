"""Courses: the list, and one course with its window, modes, seats, roster and invitations."""

from dataclasses import dataclass

from falcon.asgi import Request, Response

from api_gateway.auth.caller import Caller
from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage, may_use
from api_gateway.console.shared import ConsoleParts, with_parameter
from api_gateway.http.pagination import encode_cursor, read_cursor
from api_gateway.resources.courses import check_course_key
from api_gateway.resources.enrollments import decode_position, encode_position
from enrollment.domain.errors import CourseNotFound
from enrollment.storage import courses, invitations
from enrollment.storage.invitations import StoredInvitation
from enrollment.storage.views import enrollment_views
from enrollment.storage.views.enrollment_views import EnrollmentFilters, EnrollmentView

_COURSES, _ROSTER, _INVITATIONS = 50, 50, 200


def course_pages(shared: ConsoleParts) -> list[ConsolePage]:
    """Returns the routes."""
    template = f"{CONSOLE_PATH}/courses"
    return [
        ConsolePage(template, CourseListResource(shared), {"GET": (("courses", "GET"),)}),
        ConsolePage(
            f"{template}/{{course_id:path}}",
            CoursePageResource(shared),
            {"GET": (("course", "GET"),)},
        ),
    ]


@dataclass(frozen=True, slots=True)
class CourseListResource:
    """All courses, by their ids."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response) -> None:
        """Shows a page of the list."""
        found = await self.shared.parts.lists.read(
            courses.page, after=read_cursor(req), limit=_COURSES + 1
        )
        shown = found[:_COURSES]
        cursor = encode_cursor(shown[-1].course_id) if len(found) > _COURSES else None
        self.shared.renderer.write(
            req,
            resp,
            "courses.html",
            courses=shown,
            next=with_parameter(req, "cursor", cursor),
            now=self.shared.parts.now(),
        )

    on_head = on_get


@dataclass(frozen=True, slots=True)
class CoursePageResource:
    """One course."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response, course_id: str) -> None:
        """Shows the course; the roster and the invitations to callers who may read them."""
        parts, caller = self.shared.parts, req.context.caller
        course = await parts.database.read(courses.find, check_course_key(course_id))
        if course is None:
            raise CourseNotFound(course_id)
        roster, cursor = await self._roster(req, course_id, caller)
        self.shared.renderer.write(
            req,
            resp,
            "course.html",
            course=course,
            now=parts.now(),
            roster=roster,
            next=with_parameter(req, "cursor", cursor),
            invitations=await self._invitations(course_id, caller),
            most_invitations=_INVITATIONS,
        )

    on_head = on_get

    async def _roster(
        self, req: Request, course_id: str, caller: Caller
    ) -> tuple[list[EnrollmentView] | None, str | None]:
        """Returns a page of the enrollments and its cursor; None to who may not read them."""
        if not may_use(caller, ("enrollments", "GET")):
            return None, None
        position = read_cursor(req)
        rows, after = await self.shared.parts.lists.read(
            enrollment_views.page,
            EnrollmentFilters(course_ids=(course_id,)),
            after=None if position is None else decode_position(position),
            limit=_ROSTER,
        )
        return rows, None if after is None else encode_cursor(encode_position(after))

    async def _invitations(self, course_id: str, caller: Caller) -> list[StoredInvitation] | None:
        if not may_use(caller, ("invitation", "GET")):
            return None
        lists = self.shared.parts.lists
        return await lists.read(invitations.list_of_course, course_id, limit=_INVITATIONS)
