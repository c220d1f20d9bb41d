"""Examples of all bodies and parameters in the document, made from those of their parts."""

from collections.abc import Mapping
from typing import Any

from api_gateway.openapi.body_examples import BODY_EXAMPLES
from api_gateway.openapi.examples import COURSE_ID, EXAMPLES, SUBMISSION_ID
from api_gateway.openapi.model import NDJSON

#: The example of a text of which nothing is known; a test finds it.
FILLER = "(text)"
#: Examples of members and parameters by name, where their schemas have none.
_BY_NAME: Mapping[str, str] = {
    "user": "ada",
    "username": "ada",
    "email": "ada@example.org",
    "course_id": COURSE_ID,
    "course_key": COURSE_ID,
    "org": "Uni",
    "include_expired": "1",
    "cursor": "WzFd",
    "cohort": "Tuesday",
    "mode": "verified",
    "role": "staff",
}
_BY_FORMAT: Mapping[str, str] = {
    "uuid": str(SUBMISSION_ID),
    "date-time": "2026-09-01T12:00:00Z",
    "uri-reference": "/docs/reasons#invalid_row",
    "email": _BY_NAME["email"],
}


def add_examples(document: dict[str, Any]) -> None:
    """Adds an example to each component with members, each body and each parameter without one."""
    schemas = document["components"]["schemas"]
    maker = _Maker(schemas)
    for name, schema in schemas.items():
        if {"properties", "allOf"} & set(schema):
            schema["examples"] = [maker.of_component(name)]
    for parameter in document["components"]["parameters"].values():
        if not {"example", "examples"} & set(parameter):
            parameter["example"] = maker.of(parameter["schema"], parameter["name"])
    for methods in document["paths"].values():
        for operation in methods.values():
            for body in (operation.get("requestBody", {}), *operation["responses"].values()):
                for media_type, content in body.get("content", {}).items():
                    _add_to_content(maker, media_type, content)


def _add_to_content(maker: "_Maker", media_type: str, content: dict[str, Any]) -> None:
    schema = content["schema"]
    if "example" in content or (media_type == NDJSON and "examples" not in schema):
        return
    if schema.get("type") != "string" or {"$ref", "examples", "enum", "const"} & set(schema):
        content["example"] = maker.of(schema)


class _Maker:
    """Makes examples from schemas whose references are to the given components."""

    def __init__(self, components: Mapping[str, dict[str, Any]]) -> None:
        self._components = components
        self._known: dict[str, Any] = {**BODY_EXAMPLES, **EXAMPLES}
        for name in [*self._known]:
            if name in components:
                self._learn(components[name], self._known[name])

    def of_component(self, name: str) -> Any:
        """Returns the example of a component."""
        known = self._known
        return known[name] if name in known else self.of(self._components[name])

    def _learn(self, schema: Mapping[str, Any], example: Any) -> None:
        """Keeps the parts of an example as examples of the components that they are of."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            component = self._components[name]
            is_one = isinstance(example, dict) and set(component.get("required", ())) <= {*example}
            if is_one and self._known.setdefault(name, example) is example:
                self._learn(component, example)
        for part in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
            self._learn(part, example)
        if isinstance(example, dict):
            others = schema.get("additionalProperties")
            parts = schema.get("properties", {})
            for member, value in example.items():
                self._learn(parts.get(member) or others or {}, value)
        for item in example if isinstance(example, list) else ():
            self._learn(schema.get("items", {}), item)

    def of(self, schema: Mapping[str, Any], name: str = "") -> Any:
        """Returns an example of a schema; `name` is that of the member or parameter."""
        if "$ref" in schema:
            return self.of_component(schema["$ref"].rpartition("/")[2])
        fixed = [schema[keyword] for keyword in ("const", "default") if keyword in schema]
        if known := (*schema.get("examples", ()), *fixed):
            return known[0]
        for keyword in ("anyOf", "oneOf", "allOf"):
            if keyword in schema and "properties" not in schema:
                return self.of(schema[keyword][0], name)
        kind = schema.get("type")
        if kind == "object":
            members = schema.get("properties", {})
            return {member: self.of(part, member) for member, part in members.items()}
        if kind == "array":
            return [self.of(schema["items"], name)]
        return _scalar(schema, kind, name)


def _scalar(schema: Mapping[str, Any], kind: object, name: str) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    first = str(kind[0] if isinstance(kind, list) else kind)
    if first == "string":
        return _BY_NAME.get(name) or _BY_FORMAT.get(schema.get("format", ""), FILLER)
    return {"integer": max(1, schema.get("minimum", 1)), "number": 1.0, "boolean": True}.get(first)
