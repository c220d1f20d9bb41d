"""The section of one operation: parameters, bodies, a command, and all responses."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from api_gateway.openapi.model import Document
from api_gateway.openapi.pages.curl import curl_command
from api_gateway.openapi.pages.markup import (
    block,
    code,
    folded,
    heading,
    inline,
    prose,
    row,
    table,
)
from api_gateway.openapi.pages.schema_tables import as_json, details_html, type_html

_ERRORS_FROM = "400"


def operation_section(
    document: Document, path: str, method: str, operation: Mapping[str, Any]
) -> str:
    """Renders an operation, with its `operationId` as anchor."""
    name = operation["operationId"]
    parameters = [_resolved(document, part) for part in operation["parameters"]]
    body = operation.get("requestBody", {}).get("content", {})
    examples = [_example(document, content) for content in body.values()]
    command = curl_command(path, method, operation, parameters, next(iter(examples), None))
    return "".join(
        (
            heading(3, operation["summary"], name),
            f'<p class="route">{method_html(method)} {code(path)}</p>',
            prose(operation.get("description", "")),
            f"<p>{_credentials(operation['security'])}</p>",
            *_parameters(name, parameters),
            *_request(document, name, operation.get("requestBody", {})),
            "<h4>Command</h4>",
            block(f"curl command of {name}", command),
            *_successes(document, name, operation["responses"]),
            *_errors(document, name, operation["responses"]),
        )
    )


def method_html(method: str) -> str:
    """Renders the name of a method."""
    return f'<span class="method {escape(method.lower())}">{escape(method.upper())}</span>'


def _credentials(ways: Sequence[Mapping[str, Sequence[str]]]) -> str:
    if {} in ways:
        return "No credentials are needed."
    scopes = [code(role) for way in ways for role in way.get("ApiKey", ())]
    if not scopes:
        return 'Any <a href="#credentials">credentials</a>; they decide what is shown and done.'
    staff = any("staff" in roles for way in ways for roles in way.values())
    kinds = [f"a key with the scope {' or '.join(scopes)}", *(["a token of staff"] * staff)]
    return f'<a href="#credentials">Credentials</a>: {", or ".join(kinds)}.'


def _parameters(name: str, parameters: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if parameters:
        yield "<h4>Parameters</h4>"
    rows = (
        row(
            code(one["name"]),
            escape(one["in"]) + (", required" if one.get("required") else ""),
            type_html(one["schema"]),
            f"{inline(one['description'])} {details_html(one['schema'])} "
            f'<span class="muted">Example: {code(_shown(one["example"]))}</span>',
        )
        for one in parameters
    )
    yield table(f"Parameters of {name}", ("Name", "In", "Type", "Description"), rows)


def _request(document: Document, name: str, body: Mapping[str, Any]) -> Iterator[str]:
    content = body.get("content", {})
    if not content:
        return
    yield "<h4>Request body</h4>"
    if not body.get("required"):
        yield "<p>May be left out.</p>"
    yield table(f"Bodies of {name}", ("Media type", "Schema", "Description"), _bodies(content))
    yield from _examples(document, f"request of {name}", content)


def _successes(
    document: Document, name: str, responses: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    yield "<h4>Responses</h4>"
    known = {status: one for status, one in responses.items() if status < _ERRORS_FROM}
    rows = (
        row(
            code(status),
            inline(one["description"]),
            "<br>".join(
                f"{code(kind)}: {type_html(content['schema'])}"
                for kind, content in one.get("content", {}).items()
            )
            or "no body",
            " ".join(map(code, one["headers"])),
        )
        for status, one in known.items()
    )
    yield table(f"Responses of {name}", ("Status", "Meaning", "Body", "Headers"), rows)
    for status, one in known.items():
        yield from _examples(document, f"{status} of {name}", one.get("content", {}))


def _errors(
    document: Document, name: str, responses: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    known = {status: one for status, one in responses.items() if status >= _ERRORS_FROM}
    rows = [row(code(status), _codes(one), *_kinds(one)) for status, one in known.items()]
    if not rows:
        return
    shown = "".join(
        f"<p>{code(status)}</p>" + block(f"Body of {status} of {name}", as_json(example))
        for status, one in known.items()
        for content in one.get("content", {}).values()
        if (example := _example(document, content)) is not None
    )
    yield folded(
        f"Errors: {', '.join(known)}",
        table(f"Errors of {name}", ("Status", "Codes", "Body"), rows) + shown,
    )


def _codes(response: Mapping[str, Any]) -> str:
    """Renders the codes of a status with links to their explanations, or what it means."""
    for content in response.get("content", {}).values():
        codes = content["schema"].get("properties", {}).get("code", {}).get("enum", ())
        if codes:
            links = (f'<a href="/docs/reasons#{escape(one)}">{code(one)}</a>' for one in codes)
            return ", ".join(links)
    return prose(response["description"])


def _kinds(response: Mapping[str, Any]) -> tuple[str]:
    content = response.get("content", {})
    return (
        "<br>".join(f"{code(kind)}: {type_html(one['schema'])}" for kind, one in content.items())
        or "no body",
    )


def _bodies(content: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for kind, one in content.items():
        yield row(code(kind), type_html(one["schema"]), details_html(one["schema"]))


def _examples(
    document: Document, label: str, content: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    for kind, one in content.items():
        example = _example(document, one)
        if example is not None:
            title = f"Example: {label}, {kind}"
            yield folded(title, block(title, as_json(example)))


def _example(document: Document, content: Mapping[str, Any]) -> object:
    if "example" in content:
        return content["example"]
    return next(iter(_resolved(document, content["schema"]).get("examples", ())), None)


def _resolved(document: Document, part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a part of the document, or the component that it refers to."""
    if "$ref" not in part:
        return part
    kind, name = part["$ref"].split("/")[-2:]
    component: Mapping[str, Any] = document["components"][kind][name]
    return component


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
