"""What an operation is described by; the document is put together from these."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

Schema = Mapping[str, Any]

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
HTML = "text/html"

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
NULL: Schema = {"type": "null"}


class Answer(NamedTuple):
    """What a status means, and what comes with it."""

    meaning: str
    #: Schema by media type; empty where there is no body.
    content: Mapping[str, Schema] = MappingProxyType({})
    #: Names of header components.
    headers: tuple[str, ...] = ()


class Operation(NamedTuple):
    """One method of one route."""

    tag: str
    route: str
    method: str
    #: Unique in the document; the name of a generated client's function.
    id: str
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    #: Codes that a problem of each status can carry.
    problems: Mapping[int, str] = MappingProxyType({})
    #: Names of header components that problems can carry.
    problem_headers: tuple[str, ...] = ()
    #: Names of parameter components, those of the path left out.
    parameters: Sequence[str] = ()
    #: Schema by media type.
    body: Mapping[str, Schema] | None = None
    #: Whether there is nothing to do without a body.
    body_required: bool = True
    #: What the last variable of the route's template stands for here, if it takes in slashes.
    tail: str | None = None
    #: Whether the records are asked, and may be away.
    uses_records: bool = True


def ref(name: str) -> dict[str, str]:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def json(name: str) -> dict[str, Schema]:
    """JSON of a named schema."""
    return {JSON: ref(name)}


def or_null(schema: Schema) -> dict[str, Any]:
    """The same, or null."""
    return {"anyOf": [schema, NULL]}


def listed(schema: Schema) -> dict[str, Any]:
    """A list of it."""
    return {"type": "array", "items": schema}


def one_of(values: Sequence[str]) -> dict[str, Any]:
    """One of some words."""
    return {"type": "string", "enum": [*values]}


def record(
    description: str,
    members: Mapping[str, Schema],
    *,
    optional: Sequence[str] = (),
    example: object = None,
) -> dict[str, Any]:
    """An object; every member is there but the optional ones."""
    shape: dict[str, Any] = {
        "type": "object",
        "description": description,
        "properties": dict(members),
        "required": [name for name in members if name not in optional],
    }
    return shape if example is None else shape | {"examples": [example]}
