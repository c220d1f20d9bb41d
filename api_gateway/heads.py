"""Heads of requests: bounded before anything looks into them."""

from http import HTTPStatus
from typing import Any

from api_gateway.media import dumps
from api_gateway.problems import Problem, bad_request

MAX_HEADERS = 100
#: Bytes of all names and values.
MAX_BYTES = 32_000


def minding_heads(app: Any) -> Any:
    """Wrap an ASGI app so that it never sees a head that is too large or names no host."""

    async def minding(scope: Any, receive: Any, send: Any) -> None:
        problem = _refusal(scope) if scope["type"] == "http" else None
        if problem is None:
            await app(scope, receive, send)
        else:
            await _answer(send, problem)

    return minding


def _refusal(scope: Any) -> Problem | None:
    headers = scope["headers"]
    if not isinstance(headers, list):  # servers may give what can be read once
        headers = scope["headers"] = [tuple(pair) for pair in headers]
    size, has_host = 0, scope.get("http_version") == "1.0"
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"host":
            has_host = True
    if size > MAX_BYTES or len(headers) > MAX_HEADERS:
        return Problem(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            f"A request may have {MAX_HEADERS} headers with {MAX_BYTES} bytes in all.",
        )
    return None if has_host else bad_request("bad_request", "The header Host is missing.")


async def _answer(send: Any, problem: Problem) -> None:
    body = dumps(problem.body())
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": int(problem.status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
