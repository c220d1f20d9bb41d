"""Reads of version 2 that are those of version 1 with other statuses.

See "Version 2" in docs/openedx-compatibility.md.
"""

from dataclasses import dataclass
from http import HTTPStatus

from falcon.asgi import Request, Response

from api_gateway.http.problems import Problem
from api_gateway.resources.course_details import CourseDetailsResource
from api_gateway.resources.enrollment_detail import EnrollmentDetailResource
from api_gateway.resources.openedx.roles import RolesResource
from api_gateway.resources.openedx_v2.course_parameters import given_name


@dataclass(frozen=True, slots=True, kw_only=True)
class OneEnrollmentResource:
    """`{username},{course_key}`, or `{course_key}` for the caller's own."""

    detail: EnrollmentDetailResource

    async def on_get(self, req: Request, resp: Response, names: str) -> None:
        """Responds with the enrollment; without one with an empty 200.

        Raises Problem 404 alike for a key that cannot be parsed and for another learner.
        """
        try:
            await self.detail.on_get(req, resp, names)
        except Problem as problem:
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", "Not found.") from problem

    on_head = on_get


@dataclass(frozen=True, slots=True, kw_only=True)
class OneCourseResource:
    """The details of one course."""

    details: CourseDetailsResource

    async def on_get(self, req: Request, resp: Response, course_id: str) -> None:
        """Responds with the details, or 304. Raises Problem 404 for an unknown course."""
        try:
            await self.details.on_get(req, resp, course_id)
        except Problem as problem:
            problem.status = HTTPStatus.NOT_FOUND
            raise

    on_head = on_get


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRolesResource:
    """The roles of the caller."""

    roles: RolesResource

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists the roles, of one course or all."""
        name = given_name(req, resp, "course_key")
        await self.roles.write_roles(req, resp, req.get_param(name))

    on_head = on_get
