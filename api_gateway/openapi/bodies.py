"""The shapes of bodies, taken from the very schemas that check them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from apispec import APISpec
from marshmallow import Schema

from api_gateway.openapi import samples
from api_gateway.openapi.parts import NULL, listed, or_null
from schemas.courses import CourseShape, ModeShape
from schemas.crosswalks import EntryShape
from schemas.invitations import InvitationShape
from schemas.learners import LearnerShape
from schemas.request_schema import AttributeSchema, CourseDetailsSchema, RequestSchema

#: Names of schemas that stand in others.
_INNER: Mapping[type[Schema], str] = {
    AttributeSchema: "Attribute",
    CourseDetailsSchema: "CourseReference",
    ModeShape: "CourseMode",
}
#: What ``schemas.fields.Text`` makes of a pattern.
_WHOLE_TEXT = re.compile(r"\(\?:(.*)\)\\Z", re.DOTALL)
_PRICES = listed({"type": "integer", "minimum": 0})
_EXAMPLES: Mapping[str, object] = {
    "EnrollmentRequest": samples.REQUEST,
    "Course": samples.NEW_COURSE,
    "Learner": samples.LEARNER,
    "CrosswalkEntry": samples.ENTRY,
    "Invitation": {"expires_at": samples.INVITATION["expires_at"]},
}


def inner_name(schema: Any) -> str:
    """The name of a schema that stands in another."""
    return _INNER[schema if isinstance(schema, type) else type(schema)]


def add_bodies(spec: APISpec) -> None:
    """Put every body's shape among the document's schemas."""
    bodies: Mapping[str, Schema] = {
        "EnrollmentRequest": RequestSchema(),
        "Course": CourseShape(),
        "CourseMembers": CourseShape(partial=("course_id",)),
        "Learner": LearnerShape(),
        "LearnerMembers": LearnerShape(partial=("username",)),
        "Invitation": InvitationShape(),
        "CrosswalkEntry": EntryShape(),
    }
    for name, schema in bodies.items():
        spec.components.schema(name, schema=schema)
    made = spec.components.schemas
    for shape in made.values():
        for part in _parts(shape):
            _make_portable(part)
    _say_what_is_optional(made["EnrollmentRequest"])
    prices = made["CourseMode"]["properties"]
    prices["suggested_prices"] = {"anyOf": [prices["suggested_prices"], _PRICES]}
    for name, example in _EXAMPLES.items():
        made[name]["examples"] = [example]


def _parts(shape: Any) -> Iterator[dict[str, Any]]:
    """Every object within, the outermost first."""
    if isinstance(shape, dict):
        yield shape
    inner = shape.values() if isinstance(shape, dict) else shape
    for part in inner if isinstance(inner, list) or isinstance(shape, dict) else ():
        yield from _parts(part)


def _make_portable(part: dict[str, Any]) -> None:
    r"""A pattern as JSON Schema has it; where ``\w`` means all letters it has no such word."""
    pattern = part.get("pattern")
    if isinstance(pattern, str):
        del part["pattern"]
        if r"\w" not in pattern:
            part["pattern"] = _WHOLE_TEXT.sub(r"^(?:\1)$", pattern)
    if part.get("minLength") == 0:
        del part["minLength"]


def _say_what_is_optional(request: dict[str, Any]) -> None:
    """What is null was not sent; the course id has two places."""
    members = request["properties"]
    for name, member in members.items():
        members[name] = (
            {**member, "type": [member["type"], NULL["type"]]}
            if isinstance(member.get("type"), str)
            else or_null(member)
        )
    del request["required"]
    request["anyOf"] = [{"required": ["course_details"]}, {"required": ["course_id"]}]
    request["description"] = (
        "One learner, one course, and what is wished. Without user and email it is the caller; "
        "without is_active it is true; null counts as not sent, and other members are ignored. "
        "requested_at and force_enrollment are for trusted callers."
    )
