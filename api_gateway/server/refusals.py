"""Responses that the protocol sends itself, before or instead of the application."""

from collections.abc import Iterable
from http import HTTPStatus

from api_gateway.http.observation.request_ids import HEADER
from api_gateway.http.problems import Problem, bad_request, unavailable
from api_gateway.http.response_headers import PRIVATE_HEADERS
from api_gateway.http.responses import dumps

#: Headers that the server adds to every response, such as Date.
DefaultHeaders = Iterable[tuple[bytes, bytes]]


class ClosingResponse:
    """A problem response that closes the connection."""

    def __init__(self, problem: Problem) -> None:
        body = dumps(problem.body())
        headers = {
            "content-type": "application/problem+json",
            "content-length": str(len(body)),
            "connection": "close",
            **PRIVATE_HEADERS,
            **problem.headers,
        }
        self.code = problem.code
        self._status_line = f"HTTP/1.1 {problem.status:d} {problem.status.phrase}\r\n".encode()
        lines = [f"{name.lower()}: {value}\r\n" for name, value in headers.items()]
        self._rest = "".join(lines).encode() + b"\r\n" + body

    def encode(self, default_headers: DefaultHeaders, request_id: str) -> bytes:
        """Returns the bytes of the response."""
        given = [b"%s: %s\r\n" % header for header in default_headers]
        named = f"{HEADER.lower()}: {request_id}\r\n".encode()
        return b"".join([self._status_line, *given, named, self._rest])


def _timeout(detail: str) -> ClosingResponse:
    return ClosingResponse(Problem(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", detail))


MALFORMED = ClosingResponse(bad_request("bad_request", "The request is not valid HTTP."))
HEAD_TOO_LARGE = ClosingResponse(
    Problem(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        "The request line, the headers or the trailers are too long.",
    )
)
HEAD_TOO_SLOW = _timeout("The request headers were not complete in time.")
BODY_TOO_SLOW = _timeout("The request body did not begin in time.")
TOO_MANY_CONNECTIONS = ClosingResponse(
    unavailable("Too many connections are open; try again later.")
)
SHUTTING_DOWN = ClosingResponse(
    unavailable(
        "The server shut down before the request was answered; a request with an"
        " Idempotency-Key can be repeated safely.",
        retry_after=1,
    )
)
