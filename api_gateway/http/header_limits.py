"""ASGI middleware that checks the headers of requests before anything reads them."""

from http import HTTPStatus
from typing import Any

from api_gateway.http.expect_continue import DeferredContinue
from api_gateway.http.observation import request_ids
from api_gateway.http.observation.request_ids import RequestIds
from api_gateway.http.problems import Problem, bad_request
from api_gateway.http.responses import dumps

MAX_HEADER_FIELDS = 100
#: Maximum bytes of all names and values together; the same for the path with the query.
MAX_HEADER_BYTES = 32_000
#: Headers that are examined one by one.
_EXAMINED = frozenset({b"host", b"transfer-encoding", b"expect"})
#: Key in the scope of requests whose client waits for `100 Continue` before it sends the body.
_EXPECTS_CONTINUE = "enroll.expects_continue"


def limit_headers(app: Any) -> Any:
    """Wraps an ASGI app to reject requests with wrong headers.

    431 for headers that are too large, 400 unless there is exactly one Host (HTTP/1.1) and no
    Transfer-Encoding but `chunked`.
    """
    ids = RequestIds()

    def limiting(scope: Any, receive: Any, send: Any) -> Any:
        problem = _check(scope) if scope["type"] == "http" else None
        if problem is not None:
            return _respond(send, problem, ids.take_from(scope["headers"]))
        if _EXPECTS_CONTINUE in scope:
            deferred = DeferredContinue(receive, send)
            return app(scope, deferred.receive, deferred.send)
        return app(scope, receive, send)

    return limiting


def _check(scope: Any) -> Problem | None:
    """Returns the problem with the headers; None if there is none."""
    headers = scope["headers"]
    if not isinstance(headers, list):  # servers may pass an iterable that can be read once only
        headers = scope["headers"] = [tuple(pair) for pair in headers]
    size, hosts, coded = 0, 0, None
    for name, value in headers:
        size += len(name) + len(value)
        if name in _EXAMINED:
            if name == b"host":
                hosts += 1
            elif name == b"expect":
                _check_expectation(scope, value)
            else:
                coded = value if coded is None else b","
    size_of_url = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    if (
        size_of_url > MAX_HEADER_BYTES
        or size > MAX_HEADER_BYTES
        or len(headers) > MAX_HEADER_FIELDS
    ):
        return Problem(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            f"A request may have at most {MAX_HEADER_FIELDS} headers"
            f" with {MAX_HEADER_BYTES} bytes in all, and a URL of {MAX_HEADER_BYTES} bytes.",
        )
    return None if hosts == 1 and coded is None else _check_routing(scope, hosts, coded)


def _check_routing(scope: Any, hosts: int, coding: bytes | None) -> Problem | None:
    """Returns the problem with what proxies and servers must understand in the same way."""
    is_old = scope.get("http_version") == "1.0"
    if hosts != 1 and not (hosts == 0 and is_old):
        fault = "missing" if hosts == 0 else "given more than once"
        return bad_request("bad_request", f"The Host header is {fault}.")
    if coding is not None and (is_old or coding.strip().lower() != b"chunked"):
        detail = "Transfer-Encoding must be chunked, alone, in HTTP/1.1."
        return bad_request("bad_request", detail)
    return None


def _check_expectation(scope: Any, value: bytes) -> None:
    """Notes that the client waits for `100 Continue`."""
    if value.strip().lower() == b"100-continue":
        scope[_EXPECTS_CONTINUE] = True


async def _respond(send: Any, problem: Problem, request_id: str) -> None:
    body = dumps(problem.body())
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (request_ids.HEADER.lower().encode(), request_id.encode()),
    ]
    await send({"type": "http.response.start", "status": int(problem.status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
