"""The `curl` command of an operation, with the values of its examples."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from api_gateway.openapi.model import CSV, JSON, NDJSON

#: Files that stand for bodies that are sent as they are.
_FILES: Mapping[str, str] = {
    CSV: "enrollments.csv",
    NDJSON: "enrollments.ndjson",
    "text/plain": "enrollments.txt",
    "application/zip": "export.zip",
}
_KEY = '"X-Edx-Api-Key: $ENROLL_API_KEY"'


def curl_command(
    path: str,
    method: str,
    operation: Mapping[str, Any],
    parameters: Sequence[Mapping[str, Any]],
    example: object,
) -> str:
    """Returns the command in lines; `example` is that of the first body, if there is one.

    It reads the address and the key from ENROLL_URL and ENROLL_API_KEY, as `enroll` does.
    """
    words = ["curl" if method == "get" else f"curl -X {method.upper()}"]
    words[0] += f' "$ENROLL_URL{_url(path, parameters)}"'
    if {} not in operation["security"]:
        words.append(f"-H {_KEY}")
    words += _accepted(operation)
    if body := operation.get("requestBody"):
        words += _body(next(iter(body["content"])), example)
    return " \\\n  ".join(words)


def _url(path: str, parameters: Sequence[Mapping[str, Any]]) -> str:
    given = {one["name"]: str(one["example"]) for one in parameters if one["in"] == "path"}
    for name, value in given.items():
        path = path.replace(f"{{{name}}}", quote(value, safe="+:@"))
    query = {
        one["name"]: one["example"]
        for one in parameters
        if one["in"] == "query" and one.get("required")
    }
    return f"{path}?{urlencode(query)}" if query else path


def _accepted(operation: Mapping[str, Any]) -> Iterator[str]:
    """Yields the header that asks for events, of an operation that sends nothing else."""
    content = [*operation["responses"].get("200", {}).get("content", {})]
    if content == ["text/event-stream"]:
        yield f"-N -H {shlex.quote(f'Accept: {content[0]}')}"


def _body(media_type: str, example: object) -> Iterator[str]:
    if media_type in {"multipart/form-data", "application/x-www-form-urlencoded"}:
        flag = "-F" if media_type.startswith("multipart") else "--data-urlencode"
        members = example if isinstance(example, dict) else {}
        yield from (f"{flag} {shlex.quote(f'{name}={value}')}" for name, value in members.items())
        return
    yield f"-H {shlex.quote(f'Content-Type: {media_type}')}"
    if media_type == JSON:
        yield f"-d {shlex.quote(json.dumps(example, ensure_ascii=False, default=str))}"
    else:
        yield f"--data-binary @{_FILES.get(media_type, 'body')}"
