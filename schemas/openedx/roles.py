"""Parses and renders roles of people in courses."""

from typing import TypedDict, cast

from marshmallow import validate

from enrollment.domain.codes import CourseRole
from enrollment.domain.course_keys import parse_course_key
from schemas.fields import MAX_NAME, BoundedString, StrictSchema
from schemas.findings import ONE_OF_ERROR


class RoleField(BoundedString):
    """The name of a role."""

    def __init__(self) -> None:
        super().__init__(max_length=MAX_NAME, required=True)
        self.validators = [validate.OneOf([*CourseRole], error=ONE_OF_ERROR)]


class CourseRoleSchema(StrictSchema):
    """The body of a role; course and learner are in the URL."""

    role = RoleField()


COURSE_ROLE_SCHEMA = CourseRoleSchema()


class RoleJson(TypedDict):
    """A role of the caller in one course."""

    course_id: str
    org: str
    role: CourseRole


class RolesJson(TypedDict):
    """The roles of the caller, and whether the caller is staff of the whole site."""

    roles: list[RoleJson]
    is_staff: bool


class CourseRoleJson(RoleJson):
    """The role of a person in one course."""

    username: str


def load_role(data: object) -> CourseRole:
    """Parses a role. Raises marshmallow's ValidationError, with rules as messages."""
    members = cast("dict[str, str]", COURSE_ROLE_SCHEMA.load(data))  # type: ignore[arg-type]
    return CourseRole(members["role"])


def dump_role(course_id: str, role: str) -> RoleJson:
    """Renders a role in a course."""
    key = parse_course_key(course_id)
    org = "" if key is None else key.org
    return {"course_id": course_id, "org": org, "role": CourseRole(role)}


def dump_course_role(username: str, course_id: str, role: str) -> CourseRoleJson:
    """Renders the role of a person in a course."""
    return {**dump_role(course_id, role), "username": username}
