"""`/roles` and `/roles/{course_id}/{username}`: roles of people in courses.

See "Roles in courses" in docs/openedx-compatibility.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.database import Database
from api_gateway.http.headers import restore_plus
from api_gateway.http.problems import bad_request
from api_gateway.http.responses import write_json
from api_gateway.resources.common.bulk_body import read_object
from api_gateway.resources.courses import check_course_key
from api_gateway.resources.learners import check_username
from enrollment.domain.errors import RoleNotFound
from enrollment.storage.people import course_roles
from enrollment.storage.people.course_roles import RoleInCourse
from schemas.fields import is_storable
from schemas.openedx.roles import RolesJson, dump_course_role, dump_role, load_role


@dataclass(frozen=True, slots=True, kw_only=True)
class RolesResource:
    """The roles of the caller, in the form of Open edX."""

    database: Database

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists the roles of the caller, of one course or all."""
        await self.write_roles(req, resp, req.get_param("course_id"))

    on_head = on_get

    async def write_roles(self, req: Request, resp: Response, course_id: str | None) -> None:
        """Writes the roles of the caller, of one course or all. Raises Problem 400 for a server."""
        caller: Caller = req.context.caller
        if caller.username is None:
            # The closing quote is missing in Open edX as well, and its tests look for this text.
            text = "An error occurred while retrieving roles for user '"
            raise bad_request("no_user", text)
        wanted = restore_plus(course_id) if course_id else None  # as Open edX: empty is none
        found = await self.database.read(_find, caller.username, wanted)
        roles = [dump_role(one.course_id, one.role) for one in found]
        body: RolesJson = {"roles": roles, "is_staff": caller.is_staff}
        write_json(resp, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseRoleResource:
    """The role of one person in one course; neither of them need exist yet."""

    database: Database
    now: Callable[[], datetime]

    async def on_get(self, req: Request, resp: Response, rest: str) -> None:
        """Responds with the role."""
        course_id, username = parse_role_path(rest)
        role = await self.database.read(course_roles.find_one, username, course_id)
        if role is None:
            raise RoleNotFound(rest)
        write_json(resp, dump_course_role(username, course_id, role))

    on_head = on_get

    async def on_put(self, req: Request, resp: Response, rest: str) -> None:
        """Gives the person a role, instead of the one before."""
        course_id, username = parse_role_path(rest)
        role = await read_object(req, self.database, load_role)
        before = await self.database.write(
            course_roles.replace, username, course_id, role, now=self.now()
        )
        status = HTTPStatus.CREATED if before is None else HTTPStatus.OK
        write_json(resp, dump_course_role(username, course_id, role), status)

    async def on_delete(self, req: Request, resp: Response, rest: str) -> None:
        """Takes the role away."""
        course_id, username = parse_role_path(rest)
        if not await self.database.write(course_roles.delete, username, course_id):
            raise RoleNotFound(rest)
        resp.status = HTTPStatus.NO_CONTENT


def parse_role_path(rest: str) -> tuple[str, str]:
    """Parses course id (it may contain slashes) and username (it may not). Raises Problem 400."""
    course_id, _, username = rest.rpartition("/")
    if not course_id:  # the name of a person is missing
        course_id, username = rest, ""
    return check_course_key(course_id), check_username(username)


def _find(session: Session, username: str, course_id: str | None) -> list[RoleInCourse]:
    if course_id is not None and not is_storable(course_id):
        return []
    return course_roles.find(session, username, course_id)
