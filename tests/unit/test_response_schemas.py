"""Types of answers become JSON Schemas."""

from enum import StrEnum
from typing import Annotated, Literal, NotRequired, TypedDict

import pytest

from api_gateway.openapi.response_schemas import RESPONSES, response_schemas, schema_of
from enrollment.domain.codes import Code
from schemas.encoding.json_types import Doc, FindingJson, OneOf, Range, StringFormat
from schemas.submissions import CountsJson

STRING = {"type": "string"}


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


class PointJson(TypedDict):
    """A point."""

    x: Annotated[int, Range(0)]
    label: NotRequired[Annotated[str | None, Doc("Its name.")]]


class ColoredPointJson(PointJson, total=False):
    """A point with a color."""

    color: Color


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (str, STRING),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (object, {}),
        (str | None, {"anyOf": [STRING, {"type": "null"}]}),
        (Annotated[str, StringFormat("uri")] | None, {"anyOf": [{**STRING, "format": "uri"}, {"type": "null"}]}),
        (Color, {**STRING, "enum": ["red", "blue"]}),
        (Literal["a", "b"], {**STRING, "enum": ["a", "b"]}),
        (Literal[True], {"type": "boolean"}),
        (Annotated[str, OneOf(("a", "b"))], {**STRING, "enum": ["a", "b"]}),
        (Annotated[float, Range(0, 1)], {"type": "number", "minimum": 0, "maximum": 1}),
        (list[str], {"type": "array", "items": STRING}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (
            dict[Annotated[str, OneOf(("a",))], str],
            {"type": "object", "additionalProperties": STRING, "propertyNames": {**STRING, "enum": ["a"]}},
        ),
        (list[FindingJson], {"type": "array", "items": {"$ref": "#/components/schemas/Finding"}}),
        (
            ColoredPointJson,
            {
                "type": "object",
                "description": "A point with a color.",
                "properties": {
                    "x": {"type": "integer", "minimum": 0},
                    "label": {"anyOf": [STRING, {"type": "null"}], "description": "Its name."},
                    "color": {**STRING, "enum": ["red", "blue"]},
                },
                "required": ["x"],
            },
        ),
    ],
)  # fmt: skip
def test_a_type_has_a_schema(kind, schema):
    assert schema_of(kind) == schema


@pytest.mark.parametrize("kind", [bytes, tuple[int, int], set[str]])
def test_a_type_that_json_does_not_have_is_refused(kind):
    with pytest.raises(KeyError):
        schema_of(kind)


def test_every_response_has_a_component_with_a_description():
    schemas = response_schemas()

    assert set(schemas) == set(RESPONSES)
    assert all(schema["description"] for schema in schemas.values())


def test_counts_have_every_outcome():
    assert CountsJson.__required_keys__ == {"total", "pending", *Code}
