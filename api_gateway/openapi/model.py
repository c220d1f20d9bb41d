"""The description of one operation, from which the document is assembled.

Codes, parameters and headers are given by name, several of them separated by spaces.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

Schema = Mapping[str, Any]

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
HTML = "text/html"

TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer", "minimum": 0}
BOOLEAN: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}


class Response(NamedTuple):
    """A response that is no problem."""

    description: str
    #: Schema by media type; empty where there is no body.
    content: Mapping[str, Schema] = MappingProxyType({})
    headers: str = ""


class Operation(NamedTuple):
    """One method of one route."""

    route: str
    method: str
    #: Unique in the document; generated clients name their functions after it.
    id: str
    summary: str
    responses: Mapping[int, Response]
    description: str = ""
    #: All but those of the path.
    parameters: str = ""
    #: Schema by media type.
    body: Mapping[str, Schema] | None = None
    body_required: bool = True
    #: Codes of its problems; `problem_codes` knows the status of each.
    problems: str = ""
    #: Codes by status, where a code has another status than elsewhere.
    other_problems: Mapping[int, str] = MappingProxyType({})
    problem_headers: str = ""
    #: What replaces a last path variable that takes in slashes.
    tail: str | None = None
    uses_database: bool = True


def ref(name: str) -> dict[str, str]:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_content(name: str) -> dict[str, Schema]:
    """A JSON body with a schema of the document."""
    return {JSON: ref(name)}


def text(description: str = "", **keywords: Any) -> dict[str, Any]:
    """The schema of a string."""
    return {**TEXT, **({"description": description} if description else {}), **keywords}


def array(items: Schema) -> dict[str, Any]:
    """The schema of a list."""
    return {"type": "array", "items": items}


def one_of(values: Sequence[str]) -> dict[str, Any]:
    """The schema of a string with few possible values."""
    return text(enum=[*values])


def object_with(member: str, schema: Schema) -> dict[str, Any]:
    """The schema of an object with one required member and no other."""
    return {
        "type": "object",
        "properties": {member: schema},
        "required": [member],
        "additionalProperties": False,
    }
