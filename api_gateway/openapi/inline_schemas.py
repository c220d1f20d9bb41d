"""Makes the schemas of the document fit for generators of clients.

Operations describe objects where they use them; here these become components, so that a client has
one type for each. A `title` is the name; without one it is made from the operation, or from the
component and its member. Equal schemas become one component.
"""

import json
from collections.abc import Mapping
from typing import Any

from api_gateway.openapi.model import JSON, ref

#: Keywords of which one is in every schema of a member; an object of examples has none of them.
_TYPES = frozenset({"type", "anyOf", "oneOf", "allOf", "$ref"})
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

    for schema in namer.components.values():
        _describe_defaults(schema)


def _visit_content(namer: "_Namer", body: Mapping[str, Any], name: str) -> None:
    """Names the schemas of a body, that of JSON first."""
    contents = body.get("content", {})
    for media_type in sorted(contents, key=lambda media_type: media_type != JSON):
        content = contents[media_type]
        content["schema"] = namer.named(content["schema"], name + _FORMS.get(media_type, ""))
        if media_type in _FORMS and content["schema"] == contents.get(JSON, {}).get("schema"):
            content["schema"] = namer.form_of(content["schema"])


def _describe_defaults(schema: dict[str, Any]) -> None:
    """Moves defaults of members to their descriptions: clients would send them, even to PATCH."""
    for part in schema.get("properties", {}).values():
        if "default" in part and _TYPES & set(part):
            default = json.dumps(part.pop("default"))
            part["description"] = f"{part.get('description', '')} Default: {default}.".strip()


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

    def form_of(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a reference to the component for the form of a component, `NAMEForm`.

        It is a type of its own because a client tells by the type of a body how to send it.
        """
        if "$ref" not in schema:
            return dict(schema)
        name = schema["$ref"].rpartition("/")[2]
        form = {
            "description": f"The members of {name} as fields of a form.",
            "allOf": [dict(schema), {"description": "Values are text."}],
        }
        return ref(self._add(form, f"{name}Form"))

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
