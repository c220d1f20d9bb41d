"""Schemas as text: the type of a value, its limits, and a table of the members of an object."""

import json
from collections.abc import Iterator, Mapping
from html import escape

from api_gateway.openapi.model import Schema
from api_gateway.openapi.pages.markup import block, code, folded, heading, inline, row, table

#: Words for limits, by keyword.
_LIMITS: Mapping[str, str] = {
    "minimum": "at least",
    "maximum": "at most",
    "minLength": "shortest length",
    "maxLength": "longest length",
    "minItems": "fewest items",
    "maxItems": "most items",
    "pattern": "pattern",
    "default": "default",
}


def schema_anchor(name: str) -> str:
    """Returns the anchor of the table of a component."""
    return f"schema-{name}"


def schema_section(name: str, schema: Schema) -> str:
    """Renders a component: its description, its members, and an example."""
    required = set(schema.get("required", ()))
    members = (
        row(
            code(member),
            type_html(part),
            "required" if member in required else "",
            details_html(part),
        )
        for member, part in schema.get("properties", {}).items()
    )
    parts = [heading(3, name, schema_anchor(name))]
    if description := schema.get("description"):
        parts.append(f"<p>{inline(description)}</p>")
    parts.append(table(f"Members of {name}", ("Member", "Type", "", "Description"), members))
    if "allOf" in schema:
        parts.append(f"<p>All of {type_html(schema['allOf'][0])}.</p>")
    if others := _others(schema):
        parts.append(f"<p>{others}</p>")
    parts += (
        folded(f"Example of {name}", block(f"Example of {name}", as_json(example)))
        for example in schema.get("examples", ())
    )
    return "".join(parts)


def type_html(schema: Schema) -> str:
    """Renders the type of a value in one line, with links to components."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{escape(schema_anchor(name))}">{escape(name)}</a>'
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in schema:
            return " or ".join(dict.fromkeys(map(type_html, schema[keyword])))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"array of {type_html(schema['items'])}"
    if "const" in schema:
        return code(json.dumps(schema["const"]))
    names = " or ".join(kind) if isinstance(kind, list) else kind
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {type_html(schema['additionalProperties'])}"
    return escape(f"{names} ({schema['format']})" if "format" in schema else names)


def details_html(schema: Schema) -> str:
    """Renders the description, the values and the limits of a value."""
    parts = [inline(text) for text in (schema.get("description"),) if text]
    for part in _with_parts(schema):
        if "enum" in part:
            parts.append(f"One of {', '.join(map(code, part['enum']))}.")
        limits = [f"{name} {code(part[key])}" for key, name in _LIMITS.items() if key in part]
        if limits:
            parts.append(f'<span class="muted">{", ".join(limits)}.</span>')
    return " ".join(parts)


def as_json(value: object) -> str:
    """Returns a JSON value as people read it; text that is no JSON stays as it is."""
    if isinstance(value, str):
        return value
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _with_parts(schema: Schema) -> Iterator[Schema]:
    """Yields the schema, its alternatives, and the items of an array."""
    yield schema
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _with_parts(part)
    if isinstance(schema.get("items"), dict):
        yield from _with_parts(schema["items"])


def _others(schema: Schema) -> str:
    """Renders what an object may have beside its members."""
    others = schema.get("additionalProperties")
    if others is False:
        return "No other members."
    if isinstance(others, dict):
        return f"Any other member: {type_html(others)}."
    return ""
