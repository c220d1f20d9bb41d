"""ASGI middleware that limits the number and size of request headers."""

from http import HTTPStatus
from typing import Any

from api_gateway.http.problems import Problem, bad_request
from api_gateway.http.responses import dumps

MAX_HEADERS = 100
#: Maximum bytes of all names and values.
MAX_BYTES = 32_000


def limit_headers(app: Any) -> Any:
    """Wrap an ASGI app: reject requests with too many headers (431) or without Host (400)."""

    async def limiting(scope: Any, receive: Any, send: Any) -> None:
        problem = _check(scope) if scope["type"] == "http" else None
        if problem is None:
            await app(scope, receive, send)
        else:
            await _respond(send, problem)

    return limiting


def _check(scope: Any) -> Problem | None:
    headers = scope["headers"]
    if not isinstance(headers, list):  # servers may give an iterable that can be read once
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
            f"A request may have at most {MAX_HEADERS} headers with {MAX_BYTES} bytes in all.",
        )
    return None if has_host else bad_request("bad_request", "The Host header is missing.")


async def _respond(send: Any, problem: Problem) -> None:
    body = dumps(problem.body())
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": int(problem.status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
