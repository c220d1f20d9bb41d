"""Gives every object schema of the document a name, so that generated clients have one type each.

Operations describe objects where they use them; here these become components. A `title` is the
name; without one it is made from the operation, or from the component and its member. Equal
schemas become one component.
"""

import json
from collections.abc import Mapping
from typing import Any

from api_gateway.openapi.model import ref

#: Suffix of a body's name by media type; the others have none.
_FORMS = {"application/x-www-form-urlencoded": "Form", "multipart/form-data": "Upload"}


def name_inline_objects(document: dict[str, Any]) -> None:
    """Moves the object schemas inside of operations and components to components of their own."""
    namer = _Namer(document["components"]["schemas"])
    for name, schema in [*namer.components.items()]:
        namer.visit_members(schema, name)
    for methods in document["paths"].values():
        for operation in methods.values():
            base = _capital(operation["operationId"])
            _visit_content(namer, operation.get("requestBody", {}), f"{base}Body")
            for response in operation["responses"].values():
                _visit_content(namer, response, f"{base}Response")


def _visit_content(namer: "_Namer", body: Mapping[str, Any], name: str) -> None:
    for media_type, content in body.get("content", {}).items():
        content["schema"] = namer.named(content["schema"], name + _FORMS.get(media_type, ""))


class _Namer:
    """The components so far, and the name of each by its content."""

    def __init__(self, components: dict[str, Any]) -> None:
        self.components = components
        self._names = {_content_of(schema): name for name, schema in components.items()}

    def named(self, schema: dict[str, Any], name: str) -> dict[str, Any]:
        """Returns a reference for an object with properties, any other schema with its parts named.

        Leaves the schema that was passed as it is, because operations share them.
        """
        if "$ref" in schema:
            return schema
        copy = dict(schema)
        name = copy.pop("title", name)
        self.visit_members(copy, name)
        return ref(self._add(copy, name)) if "properties" in copy else copy

    def visit_members(self, schema: dict[str, Any], name: str) -> None:
        """Names the objects among the direct parts of a schema, in place."""
        if "properties" in schema and "$ref" not in schema:
            schema["properties"] = {
                member: self.named(part, name + _capital(member))
                for member, part in schema["properties"].items()
            }
        for keyword in ("items", "additionalProperties"):
            if isinstance(schema.get(keyword), dict):
                schema[keyword] = self.named(schema[keyword], f"{name}Item")
        for keyword in ("anyOf", "oneOf", "allOf"):
            if keyword in schema:
                schema[keyword] = [self.named(part, name) for part in schema[keyword]]

    def _add(self, schema: dict[str, Any], name: str) -> str:
        content = _content_of(schema)
        if content not in self._names:
            self._names[content] = _unused(name, self.components)
            self.components[self._names[content]] = schema
        return self._names[content]


def _content_of(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, sort_keys=True, default=str)


def _unused(name: str, taken: Mapping[str, object]) -> str:
    """Returns the name, with a number if another schema has it."""
    number, unused = 1, name
    while unused in taken:
        number += 1
        unused = f"{name}{number}"
    return unused


def _capital(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.replace(".", "_").split("_"))
