"""Assembles the OpenAPI document from operations, schemas, parameters and headers."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from api_gateway.auth.permissions import PERMISSIONS, Requirement
from api_gateway.http.problems import Problem
from api_gateway.openapi.example_values import add_examples
from api_gateway.openapi.examples import EXAMPLE_FACTS, EXAMPLES
from api_gateway.openapi.inline_schemas import name_inline_objects
from api_gateway.openapi.model import JSON, Operation, Response, Schema, ref, unknown_parameter_code
from api_gateway.openapi.operations import (
    bulk_enroll,
    courses,
    crosswalks,
    destinations,
    enrollments,
    invitations,
    learners,
    openedx,
    openedx_v2,
    service,
    submissions,
    tokens,
    webhooks,
)
from api_gateway.openapi.parameters import HEADERS, PARAMETERS
from api_gateway.openapi.problem_codes import meanings, statuses
from api_gateway.openapi.request_schemas import add_request_schemas, nested_name
from api_gateway.openapi.response_schemas import response_schemas
from enrollment.domain.codes import Reason
from schemas.messages.reason_messages import render_reason

#: Operations by tag.
OPERATIONS: Mapping[str, tuple[Operation, ...]] = {
    "Enrollments": enrollments.OPERATIONS + openedx.ELIGIBILITY,
    "Submissions": submissions.OPERATIONS + bulk_enroll.OPERATIONS,
    "Courses": courses.OPERATIONS + openedx.CATALOG,
    "Learners": learners.OPERATIONS + openedx.ACCOUNTS + openedx.RELATIONS,
    "Invitations": invitations.OPERATIONS + openedx.INVITATIONS,
    "Crosswalks": crosswalks.OPERATIONS,
    "Webhooks": webhooks.OPERATIONS,
    "Destinations": destinations.OPERATIONS + destinations.REPORT_OPERATIONS,
    "Version 2": openedx_v2.OPERATIONS,
    "Tokens": tokens.OPERATIONS,
    "Service": service.OPERATIONS,
}
PROBLEM_JSON = "application/problem+json"
#: A path variable that matches slashes, in the notation of Falcon.
_PATH_PARAMETER = re.compile(r"\{(\w+):path\}")
_NAMES = re.compile(r"\{(\w+)\}")
#: Header of every problem with the status.
_PROBLEM_HEADERS = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}

_DESCRIPTION = """\
Stores course enrollment requests, one or a million, processes them, and reports an outcome for
each.

Every URL works with and without a trailing slash, without redirects. GET implies HEAD. OPTIONS, and
405 for any other method, list the methods in `Allow`. Errors are problem details (RFC 9457); on the
routes of version 1 of the Open edX API they are sent as `application/json`. `/docs/reasons`
explains the codes and the rules in `errors`, whose `message` says what is wrong and what to do.

An unknown query parameter is 400 with the nearest name, except on the routes of the Open edX API,
which ignore it. Every list with a cursor takes the size of a page as `limit` or `page_size`; lists
with numbered pages take `page_size`.

A JWT together with an API key means the subject of the token with the scopes of the key.
"""
_LICENSE = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
_CONTACT = {"name": "The operator of this service"}
_SERVERS = (
    {"url": "/", "description": "The server of this document."},
    {"url": "http://127.0.0.1:8000", "description": "`enroll up` on this machine."},
)
_SECURITY_SCHEMES: Mapping[str, Mapping[str, Any]] = {
    "ApiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Edx-Api-Key",
        "description": "An API key of a server, with the scopes enroll, read, courses or admin.",
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
        "description": "`Authorization: JWT T`: the token of a learner or of staff.",
    },
    "OAuth2": {
        "type": "oauth2",
        "description": (
            "A server's client id and secret, for a token of its user; the token is sent as "
            "`Authorization: JWT T` or `Authorization: Bearer T`."
        ),
        "flows": {"clientCredentials": {"tokenUrl": "/oauth2/access_token", "scopes": {}}},
    },
}


#: Headers of every response of a route that needs credentials (`add_headers`).
_PRIVATE_HEADERS = "Cache-Control Vary"
#: Headers of every response to a caller who is throttled.
_RATE_HEADERS = "RateLimit RateLimit-Policy"


def build(routes: Mapping[str, str], v1: frozenset[str]) -> dict[str, Any]:
    """Builds the document; `v1` has the URI templates with errors as `application/json`."""
    spec = APISpec(
        title="Enrollment service",
        version=version("enrollment-service"),
        openapi_version="3.1.0",
        plugins=[MarshmallowPlugin(schema_name_resolver=nested_name)],
        info={"description": _DESCRIPTION, "license": _LICENSE, "contact": _CONTACT},
        servers=_SERVERS,
        tags=[{"name": name} for name in OPERATIONS],
        security=[],
    )
    _add_components(spec)
    for tag, operations in OPERATIONS.items():
        for operation in operations:
            template = routes[operation.route]
            path = _PATH_PARAMETER.sub(operation.tail or r"{\1}", template)
            is_v1 = template in v1 and not operation.is_ours
            described = _operation(operation, path, is_v1=is_v1)
            spec.path(path, operations={operation.method.lower(): {"tags": [tag], **described}})
    document: dict[str, Any] = spec.to_dict()
    name_inline_objects(document)
    add_examples(document)
    return document


def _add_components(spec: APISpec) -> None:
    add_request_schemas(spec)
    components = spec.components
    for name, schema in response_schemas().items():
        components.schema(name, schema)
    for name, example in EXAMPLES.items():
        components.schemas[name]["examples"] = [example]
    for name, parameter in PARAMETERS.items():
        components.parameter(name, parameter["in"], dict(parameter))
    for name, header in HEADERS.items():
        components.header(name, dict(header))
    for name, scheme in _SECURITY_SCHEMES.items():
        components.security_scheme(name, dict(scheme))


def _operation(operation: Operation, path: str, *, is_v1: bool) -> dict[str, Any]:
    requirement = PERMISSIONS[operation.route, operation.method]
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "security": _security(requirement),
        "parameters": [*_NAMES.findall(path), *operation.parameters.split(), "X-Request-ID"],
        "responses": _responses(operation, requirement, is_v1=is_v1),
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body is not None:
        content = _content(operation.body)
        described["requestBody"] = {"required": operation.body_required, "content": content}
    return described


def _security(requirement: Requirement) -> list[dict[str, list[str]]]:
    """Returns the alternatives of credentials; an empty object means none are needed."""
    if requirement.public:
        return [{}]
    if requirement.anyone:
        return [{name: []} for name in _SECURITY_SCHEMES]
    roles = {"admin", *requirement.scopes}
    keys = [{name: [role]} for role in sorted(roles) for name in ("ApiKey", "Bearer")]
    if requirement.subject:
        tokens: list[dict[str, list[str]]] = [{name: []} for name in ("Bearer", "JWT", "OAuth2")]
        return [*keys, *tokens]
    if not requirement.staff:
        return keys
    # the user of a client decides; there are no scopes to ask for
    return [*keys, *({name: ["staff"]} for name in ("Bearer", "JWT")), {"OAuth2": []}]


def _responses(operation: Operation, requirement: Requirement, *, is_v1: bool) -> dict[str, Any]:
    media_type = JSON if is_v1 else PROBLEM_JSON
    always = _RATE_HEADERS if operation.throttled else ""
    if not requirement.public:
        always = f"{_PRIVATE_HEADERS} {_RATE_HEADERS}"
    responses = {
        str(status): _response(response, always) for status, response in operation.responses.items()
    }
    for status, codes in _problems(operation, requirement, is_v1=is_v1).items():
        headers = f"{_PROBLEM_HEADERS.get(status, '')} {operation.problem_headers} {always}"
        described = _problem(status, codes, media_type)
        responses[str(status)] = described | {"headers": _headers(headers)}
    responses["431"] = _TOO_LARGE | {"headers": _headers(_PRIVATE_HEADERS)}
    return dict(sorted(responses.items()))


def _problems(
    operation: Operation, requirement: Requirement, *, is_v1: bool
) -> dict[int, list[str]]:
    """Returns the problem codes of the operation by status."""
    codes = operation.problems.split()
    if not (is_v1 or operation.ignores_unknown):
        codes.append(unknown_parameter_code(operation))
    if not requirement.public or operation.throttled:
        codes.append("throttled")
    if not requirement.public:
        codes.append("not_authenticated")
        if not requirement.anyone:
            codes.append("not_permitted")
    if operation.uses_database:
        codes += ["internal_error", "unavailable"]
    status_of = statuses(is_v1=is_v1)
    problems: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        problems.setdefault(status_of[code], []).append(code)
    for status, more in operation.other_problems.items():
        problems.setdefault(status, []).extend(more.split())
    return problems


def _response(response: Response, always: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": response.description,
        "headers": _headers(f"{response.headers} {always}"),
    }
    return described | ({"content": _content(response.content)} if response.content else {})


def _problem(status: int, codes: list[str], media_type: str) -> dict[str, Any]:
    known = meanings()
    return {
        "description": "\n".join(f"- `{code}`: {known[code]}" for code in codes),
        "content": {
            media_type: {
                # Generators see the reference alone, and make one type for all errors.
                "schema": {**ref("Problem"), "properties": {"code": {"enum": codes}}},
                "example": Problem(
                    HTTPStatus(status), codes[0], _example_detail(codes[0], known)
                ).body(),
            }
        },
    }


def _example_detail(code: str, meanings: Mapping[str, str]) -> str:
    """Returns the message of a problem; for a reason with the facts of an example."""
    if code in set(Reason):
        return render_reason(Reason(code), EXAMPLE_FACTS)
    return meanings[code]


#: Sent before the route is known, therefore by all of them and in one media type.
_TOO_LARGE = _problem(431, ["headers_too_large"], PROBLEM_JSON)


def _content(schemas: Mapping[str, Schema]) -> dict[str, Any]:
    return {media_type: {"schema": schema} for media_type, schema in schemas.items()}


def _headers(names: str) -> dict[str, Any]:
    return {
        name: {"$ref": f"#/components/headers/{name}"} for name in (*names.split(), "X-Request-ID")
    }
