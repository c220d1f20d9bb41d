"""The document put together from its parts."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from api_gateway.openapi import bulk_enrolling, enrolling, keeping, mapping, service, submitting
from api_gateway.openapi.bodies import add_bodies, inner_name
from api_gateway.openapi.codes import meanings
from api_gateway.openapi.parameters import HEADERS, PARAMETERS
from api_gateway.openapi.parts import JSON, Answer, Operation, Schema, ref
from api_gateway.openapi.shapes import SHAPES
from api_gateway.permissions import POLICY, Requirement
from api_gateway.problems import Problem

OPERATIONS: tuple[Operation, ...] = (
    *enrolling.OPERATIONS,
    *submitting.OPERATIONS,
    *bulk_enrolling.OPERATIONS,
    *keeping.OPERATIONS,
    *mapping.OPERATIONS,
    *service.OPERATIONS,
)
PROBLEM_JSON = "application/problem+json"
_TAIL = re.compile(r"\{(\w+):path\}")
_NAMES = re.compile(r"\{(\w+)\}")
_TAGS = (
    "Enrollments",
    "Submissions",
    "Courses",
    "Learners",
    "Invitations",
    "Crosswalks",
    "Service",
)
#: Headers that go with every problem of a status.
_PROBLEM_HEADERS = {401: ("WWW-Authenticate",), 503: ("Retry-After",)}
#: What each operation can meet, beside its own problems.
_ANYWHERE = {500: "internal_error", 503: "unavailable"}

_DESCRIPTION = """\
Takes course enrollments, one or a million, keeps them, judges them, and tells the outcome of each.

Every address is taken with and without a trailing slash and never redirects. Where there is GET
there is HEAD; OPTIONS says in `Allow` what there is, and so does 405 for any other method. Errors
have one shape (RFC 9457); on the routes of upstream's own API it travels as `application/json`.
`/docs/reasons` explains the codes.

A JWT and a key together are the token's subject with the key's scopes.
"""
_SECURITY_SCHEMES: Mapping[str, Mapping[str, str]] = {
    "ApiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Edx-Api-Key",
        "description": "A server's key, with the scopes enroll, read, courses or admin.",
    },
    "Bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "`Authorization: Bearer K`: an API key, or a JWT.",
    },
    "JWT": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Authorization: JWT T`: the token of a learner, or of staff.",
    },
}


def build(routes: Mapping[str, str], v1: frozenset[str]) -> dict[str, Any]:
    """The document; ``v1`` holds the templates whose errors are ``application/json``."""
    spec = APISpec(
        title="Enrollment service",
        version=version("enrollment-service"),
        openapi_version="3.1.0",
        plugins=[MarshmallowPlugin(schema_name_resolver=inner_name)],
        info={"description": _DESCRIPTION},
        servers=[{"url": "/"}],
        tags=[{"name": name} for name in _TAGS],
        security=[],
    )
    add_bodies(spec)
    components = spec.components
    for name, shape in {**SHAPES, **mapping.SHAPES, **bulk_enrolling.SHAPES}.items():
        components.schema(name, dict(shape))
    for name, parameter in PARAMETERS.items():
        components.parameter(name, parameter["in"], dict(parameter))
    for name, header in HEADERS.items():
        components.header(name, dict(header))
    for name, scheme in _SECURITY_SCHEMES.items():
        components.security_scheme(name, dict(scheme))
    for operation in OPERATIONS:
        _add(spec, operation, routes[operation.route], v1)
    return spec.to_dict()


def path_of(operation: Operation, template: str) -> str:
    """The path as OpenAPI writes it."""
    tail = operation.tail
    return _TAIL.sub(lambda match: tail or f"{{{match[1]}}}", template)


def _add(spec: APISpec, operation: Operation, template: str, v1: frozenset[str]) -> None:
    need = POLICY[operation.route, operation.method]
    path = path_of(operation, template)
    names = [*_NAMES.findall(path), *operation.parameters, "X-Request-ID"]
    described: dict[str, Any] = {
        "tags": [operation.tag],
        "operationId": operation.id,
        "summary": operation.summary,
        "description": operation.description,
        "security": _security(need),
        "parameters": names,
        "responses": _responses(operation, need, JSON if template in v1 else PROBLEM_JSON),
    }
    if operation.body is not None:
        content = {kind: {"schema": schema} for kind, schema in operation.body.items()}
        described["requestBody"] = {"required": operation.body_required, "content": content}
    given = {name: part for name, part in described.items() if part != ""}
    spec.path(path, operations={operation.method.lower(): given})


def _security(need: Requirement) -> list[dict[str, list[str]]]:
    """Any one of these will do; an empty object is nobody in particular."""
    if need.public:
        return [{}]
    if need.anyone:
        return [{name: []} for name in _SECURITY_SCHEMES]
    roles = {"admin", *need.scopes}
    keys = [{name: [role]} for role in sorted(roles) for name in ("ApiKey", "Bearer")]
    staff = [{name: ["staff"]} for name in ("Bearer", "JWT")] if need.staff else []
    return keys + staff


def _responses(operation: Operation, need: Requirement, media_type: str) -> dict[str, Any]:
    problems = {} if need.public else {401: "not_authenticated"}
    if not (need.public or need.anyone):
        problems[403] = "not_permitted"
    if operation.uses_records:
        problems |= _ANYWHERE
    problems |= operation.problems
    responses = {str(status): _answer(answer) for status, answer in operation.answers.items()}
    for status, codes in problems.items():
        described = _problem(status, codes.split(), media_type)
        names = (*_PROBLEM_HEADERS.get(status, ()), *operation.problem_headers)
        responses[str(status)] = described | {"headers": _headers(names)}
    return dict(sorted(responses.items()))


def _answer(answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": answer.meaning,
        "headers": _headers(answer.headers),
    }
    if answer.content:
        described["content"] = {kind: {"schema": s} for kind, s in answer.content.items()}
    return described


def _problem(status: int, codes: list[str], media_type: str) -> dict[str, Any]:
    known = meanings()
    sentences = "\n".join(f"- `{code}`: {known[code]}" for code in codes)
    example = Problem(HTTPStatus(status), codes[0], known[codes[0]]).body()
    schema: Schema = {
        "allOf": [ref("Problem"), {"properties": {"code": {"enum": codes}}}],
    }
    return {
        "description": sentences,
        "content": {media_type: {"schema": schema, "example": example}},
    }


def _headers(names: tuple[str, ...]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, "X-Request-ID")}
