"""ASGI middleware that limits the number and size of request headers."""

from http import HTTPStatus
from typing import Any

from api_gateway.http.problems import Problem, bad_request
from api_gateway.http.responses import dumps

MAX_HEADER_FIELDS = 100
#: Maximum bytes of all names and values together.
MAX_HEADER_BYTES = 32_000


def limit_headers(app: Any) -> Any:
    """Wraps an ASGI app to reject requests with too large headers (431) or no Host (400)."""

    async def limiting(scope: Any, receive: Any, send: Any) -> None:
        problem = _check(scope) if scope["type"] == "http" else None
        if problem is None:
            await app(scope, receive, send)
        else:
            await _respond(send, problem)

    return limiting


def _check(scope: Any) -> Problem | None:
    """Returns the problem with the headers; None if there is none."""
    headers = scope["headers"]
    if not isinstance(headers, list):  # servers may pass an iterable that can be read once only
        headers = scope["headers"] = [tuple(pair) for pair in headers]
    size, has_host = 0, scope.get("http_version") == "1.0"
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"host":
            has_host = True
    if size > MAX_HEADER_BYTES or len(headers) > MAX_HEADER_FIELDS:
        return Problem(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            f"A request may have at most {MAX_HEADER_FIELDS} headers"
            f" with {MAX_HEADER_BYTES} bytes in all.",
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
