"""The schemas of request bodies, generated from the marshmallow schemas that validate them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from apispec import APISpec
from marshmallow import Schema

from api_gateway.openapi.model import NULL, array
from schemas.courses import CourseSchema, ModeSchema
from schemas.crosswalks import EntrySchema
from schemas.invitations import InvitationSchema
from schemas.learners import LearnerSchema
from schemas.requests.schema import AttributeSchema, CourseDetailsSchema, RequestSchema

#: Names of schemas that are nested in others.
_INNER: Mapping[type[Schema], str] = {
    AttributeSchema: "Attribute",
    CourseDetailsSchema: "CourseReference",
    ModeSchema: "CourseMode",
}
#: How `schemas.fields.BoundedString` anchors a pattern.
_ANCHORED = re.compile(r"\(\?:(.*)\)\\Z", re.DOTALL)
_PRICES = array({"type": "integer", "minimum": 0})


def inner_name(schema: Any) -> str:
    """The component name of a nested schema."""
    return _INNER[schema if isinstance(schema, type) else type(schema)]


def add_request_schemas(spec: APISpec) -> None:
    """Adds the schema of every request body to the components."""
    bodies: Mapping[str, Schema] = {
        "EnrollmentRequest": RequestSchema(),
        "Course": CourseSchema(),
        "CourseMembers": CourseSchema(partial=("course_id",)),
        "Learner": LearnerSchema(),
        "LearnerMembers": LearnerSchema(partial=("username",)),
        "Invitation": InvitationSchema(),
        "CrosswalkEntry": EntrySchema(),
    }
    for name, schema in bodies.items():
        spec.components.schema(name, schema=schema)
    made = spec.components.schemas
    for described in made.values():
        for part in _objects_in(described):
            _make_portable(part)
    _describe_optional(made["EnrollmentRequest"])
    prices = made["CourseMode"]["properties"]
    prices["suggested_prices"] = {"anyOf": [prices["suggested_prices"], _PRICES]}


def _objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value, the outermost first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from _objects_in(inner)


def _make_portable(part: dict[str, Any]) -> None:
    r"""Writes a pattern as JSON Schema has it, which lacks a `\w` that means all letters."""
    pattern = part.get("pattern")
    if isinstance(pattern, str):
        del part["pattern"]
        if r"\w" not in pattern:
            part["pattern"] = _ANCHORED.sub(r"^(?:\1)$", pattern)
    if part.get("minLength") == 0:
        del part["minLength"]


def _describe_optional(request: dict[str, Any]) -> None:
    """Null is the same as a missing member; the course id has two places."""
    members = request["properties"]
    for name, member in members.items():
        members[name] = (
            {**member, "type": [member["type"], NULL["type"]]}
            if isinstance(member.get("type"), str)
            else {"anyOf": [member, NULL]}
        )
    del request["required"]
    request["anyOf"] = [{"required": ["course_details"]}, {"required": ["course_id"]}]
    request["description"] = (
        "One learner, one course, and the desired change. Without user and email it is the caller; "
        "without is_active it is true; null is the same as missing, and unknown members are "
        "ignored. requested_at and force_enrollment are for trusted callers."
    )
