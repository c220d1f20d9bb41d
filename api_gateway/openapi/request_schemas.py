"""Schemas of request bodies, generated from the marshmallow schemas that validate them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from apispec import APISpec
from marshmallow import Schema

from api_gateway.openapi.model import NULL, array
from schemas.courses import CourseSchema, ModeSchema
from schemas.crosswalks import EntrySchema
from schemas.destinations.members import DestinationAuthSchema, DestinationSchema
from schemas.invitations import InvitationSchema
from schemas.learners import LearnerSchema
from schemas.openedx.enrollment_allowed import AllowedKeySchema, AllowedSchema
from schemas.openedx.roles import CourseRoleSchema
from schemas.requests.schema import AttributeSchema, CourseDetailsSchema, RequestSchema
from schemas.webhooks.endpoints import RangeSchema, WebhookSchema

#: Component names of nested schemas.
_NESTED_NAMES: Mapping[type[Schema], str] = {
    AttributeSchema: "Attribute",
    DestinationAuthSchema: "DestinationAuth",
    CourseDetailsSchema: "CourseReference",
    ModeSchema: "CourseMode",
}
#: A pattern as anchored by `schemas.fields.BoundedString`.
_ANCHORED = re.compile(r"\(\?:(.*)\)\\Z", re.DOTALL)
_PRICES = array({"type": "integer", "minimum": 0})


def nested_name(schema: Any) -> str:
    """Returns the component name of a nested schema."""
    return _NESTED_NAMES[schema if isinstance(schema, type) else type(schema)]


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
        "CourseRoleMembers": CourseRoleSchema(),
        "NewAllowedEnrollment": AllowedSchema(),
        "AllowedEnrollmentKey": AllowedKeySchema(),
        "NewWebhook": WebhookSchema(),
        "FeedRange": RangeSchema(),
        "NewDestination": DestinationSchema(),
    }
    for name, schema in bodies.items():
        spec.components.schema(name, schema=schema)
    components = spec.components.schemas
    for component in components.values():
        for subschema in _objects_in(component):
            _make_portable(subschema)
    for name in ("Course", "CourseMembers"):
        components[name]["properties"]["cohorts"]["uniqueItems"] = True
    _describe_optional(components["EnrollmentRequest"])
    prices = components["CourseMode"]["properties"]
    prices["suggested_prices"] = {"anyOf": [prices["suggested_prices"], _PRICES]}


def _objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yields all objects in a JSON value, outer ones first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from _objects_in(item)


def _make_portable(subschema: dict[str, Any]) -> None:
    r"""Rewrites a pattern for JSON Schema; drops it if it has `\w`, which is ASCII only there."""
    pattern = subschema.get("pattern")
    if isinstance(pattern, str):
        del subschema["pattern"]
        if r"\w" not in pattern:
            subschema["pattern"] = _ANCHORED.sub(r"^(?:\1)$", pattern)
    if subschema.get("minLength") == 0:
        del subschema["minLength"]


def _describe_optional(request: dict[str, Any]) -> None:
    """Permits null for every member, and the course id in either of two members."""
    members = request["properties"]
    for name, member in members.items():
        members[name] = (
            {**member, "type": [member["type"], NULL["type"]]}
            if isinstance(member.get("type"), str)
            else {"anyOf": [member, NULL]}
        )
    del request["required"]
    # `anyOf` would be a type without members for generators of programs
    request["if"] = {"required": ["course_details"]}
    request["else"] = {"required": ["course_id"]}
    request["description"] = (
        "One learner, one course, and the desired change. Without user and email it is the caller; "
        "without is_active it is true; null is the same as missing, and unknown members are "
        "ignored. requested_at and force_enrollment are for trusted callers. email_opt_in is kept "
        "for the learner and the course's organization, if the request is applied."
    )
