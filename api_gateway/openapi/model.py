"""Descriptions of operations, from which the document is assembled.

Codes, parameters and headers are strings of names separated by spaces.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

Schema = Mapping[str, Any]
#: The whole OpenAPI document.
Document = Mapping[str, Any]

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
HTML = "text/html"

TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer", "minimum": 0}
BOOLEAN: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}


class Response(NamedTuple):
    """A response that is not a problem."""

    description: str
    #: Schema by media type; empty without a body.
    content: Mapping[str, Schema] = MappingProxyType({})
    headers: str = ""


class Operation(NamedTuple):
    """One method of one route."""

    route: str
    method: str
    #: The `operationId`, after which generated clients name their functions.
    id: str
    summary: str
    responses: Mapping[int, Response]
    description: str = ""
    #: Names of parameters, without those of the path.
    parameters: str = ""
    #: Schema by media type.
    body: Mapping[str, Schema] | None = None
    body_required: bool = True
    #: Problem codes; `problem_codes.statuses` has the status of each.
    problems: str = ""
    #: Problem codes by status, for codes that have another status here than elsewhere.
    other_problems: Mapping[int, str] = MappingProxyType({})
    problem_headers: str = ""
    #: Replaces a last path variable that matches slashes.
    tail: str | None = None
    #: Whether the operation can respond `unavailable` and `internal_error`.
    uses_database: bool = True
    #: Whether unknown query parameters are ignored, as Open edX does, on a route that is not v1.
    ignores_unknown: bool = False
    #: Whether it is an operation of ours, with errors as ours have them, on a route of Open edX.
    is_ours: bool = False
    #: Whether a route without credentials is throttled by address; with credentials all are.
    throttled: bool = False


def unknown_parameter_code(operation: Operation) -> str:
    """Returns the problem code for a query parameter that the operation does not declare."""
    has_options = "option_invalid" in operation.problems.split()
    return "option_invalid" if has_options else "invalid_parameter"


def ref(name: str) -> dict[str, str]:
    """Returns a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_content(name: str) -> dict[str, Schema]:
    """Returns the content of a JSON body with a schema of the document."""
    return {JSON: ref(name)}


def text(description: str = "", **keywords: Any) -> dict[str, Any]:
    """Returns the schema of a string."""
    return {**TEXT, **({"description": description} if description else {}), **keywords}


def array(items: Schema) -> dict[str, Any]:
    """Returns the schema of an array."""
    return {"type": "array", "items": items}


def enumeration(values: Sequence[str]) -> dict[str, Any]:
    """Returns the schema of a string with a fixed set of values."""
    return text(enum=[*values])


def object_with(member: str, schema: Schema, title: str = "") -> dict[str, Any]:
    """Returns the schema of an object with exactly one member; `title` names the component."""
    return {
        **({"title": title} if title else {}),
        "type": "object",
        "properties": {member: schema},
        "required": [member],
        "additionalProperties": False,
    }
