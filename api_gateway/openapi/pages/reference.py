"""`/docs`: the reference of the API, all of it on one page that a browser can search."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from api_gateway.openapi.model import Document
from api_gateway.openapi.pages.markup import code, heading, inline, page, prose, row, table
from api_gateway.openapi.pages.operations import method_html, operation_section
from api_gateway.openapi.pages.schema_tables import schema_section

#: Path, method and operation.
_Operations = list[tuple[str, str, Mapping[str, Any]]]


def reference_page(document: Document) -> str:
    """Renders all operations of the document by tag, then all schemas."""
    by_tag = _by_tag(document)
    parts = [*_introduction(document)]
    for tag, operations in by_tag.items():
        parts.append(heading(2, tag, _tag_anchor(tag)))
        parts += (operation_section(document, *operation) for operation in operations)
    schemas = document["components"]["schemas"]
    parts.append(heading(2, "Schemas", "schemas"))
    parts += (schema_section(name, schema) for name, schema in sorted(schemas.items()))
    return page(document["info"]["title"], _contents(by_tag), *parts)


def _by_tag(document: Document) -> dict[str, _Operations]:
    """Returns the operations by tag, in the order of the tags."""
    by_tag: dict[str, _Operations] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag[operation["tags"][0]].append((path, method, operation))
    return by_tag


def _tag_anchor(tag: str) -> str:
    return f"tag-{tag.replace(' ', '-')}"


def _contents(by_tag: Mapping[str, _Operations]) -> str:
    """Renders the links to all operations."""
    parts = []
    for tag, operations in by_tag.items():
        links = "".join(
            f'<li><a href="#{escape(operation["operationId"])}">{method_html(method)} '
            f"{escape(operation['summary'])}</a></li>"
            for _, method, operation in operations
        )
        anchor = escape(_tag_anchor(tag))
        parts.append(f'<p><a href="#{anchor}">{escape(tag)}</a></p><ul>{links}</ul>')
    return (
        f'<nav class="contents" aria-label="Operations">{"".join(parts)}'
        '<p><a href="#schemas">Schemas</a></p></nav>'
    )


def _introduction(document: Document) -> Iterator[str]:
    info = document["info"]
    yield prose(info["description"])
    yield (
        f"<p>Version {code(info['version'])}. {escape(info['license']['name'])}. The commands "
        f"below read the address of the service from {code('ENROLL_URL')} and a key from "
        f"{code('ENROLL_API_KEY')}.</p>"
    )
    yield heading(2, "Servers", "servers")
    rows = (row(code(one["url"]), inline(one["description"])) for one in document["servers"])
    yield table("Servers", ("URL", "Description"), rows)
    yield heading(2, "Credentials", "credentials")
    schemes = document["components"]["securitySchemes"]
    rows = (
        row(code(name), escape(one["type"]), inline(one["description"]) + _token_url(one))
        for name, one in schemes.items()
    )
    yield table("Ways to authenticate", ("Name", "Type", "Description"), rows)


def _token_url(scheme: Mapping[str, Any]) -> str:
    flows = scheme.get("flows", {})
    return "".join(f" Tokens: {code(flow['tokenUrl'])}." for flow in flows.values())
