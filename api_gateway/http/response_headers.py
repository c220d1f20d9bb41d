"""ASGI middleware that adds the headers which every response must have, and measures it.

Responses are private unless their route is public: a shared cache must not keep them, nor give
them to another caller. A public route decides on its own caching.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from api_gateway.http.observation.access_log import AccessLog
from api_gateway.http.observation.request_metrics import measure_request

#: Headers of every response: no guessing of types, no addresses with ids in `Referer`.
COMMON_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
#: Headers of a response for one caller.
PRIVATE_HEADERS = {
    **COMMON_HEADERS,
    "Cache-Control": "private, no-store",
    "Vary": "Authorization, X-Edx-Api-Key",
}
#: Key in the scope that is present once the request is known to be for a public route.
PUBLIC_ROUTE = "enroll.public_route"

RawHeaders = list[tuple[bytes, bytes]]


def add_headers(app: Any, hsts_seconds: float | None, access_log: AccessLog | None = None) -> Any:
    """Wraps an ASGI app to add the headers of caching and security to its responses.

    Each response is measured, and noted in the log if there is one.
    """
    always: dict[str, str] = {}
    if hsts_seconds is not None:
        always["Strict-Transport-Security"] = f"max-age={hsts_seconds:.0f}"
    common = AddedHeaders({**COMMON_HEADERS, **always})
    private = AddedHeaders({**PRIVATE_HEADERS, **always})

    def adding(scope: Any, receive: Any, send: Any) -> Any:
        arrived = time.perf_counter()

        def sending(event: Any) -> Any:
            if event["type"] == "http.response.start":
                added = common if PUBLIC_ROUTE in scope else private
                headers = added.to(event["headers"])
                event["headers"] = headers if scope["method"] != "OPTIONS" else _complete(headers)
                seconds = time.perf_counter() - arrived
                measure_request(scope, event["status"], seconds)
                if access_log is not None:
                    access_log.note(scope, event["status"], seconds)
            return send(event)

        return app(scope, receive, sending)

    return adding


class AddedHeaders:
    """Headers, encoded once, that replace those of the same name."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._added = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._names = frozenset(name for name, _ in self._added)

    def to(self, headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
        """Returns the headers with the added ones; keeps what else the response varies by."""
        given = list(headers)
        for name, _ in given:
            if name in self._names:
                return self._merged(given)
        return given + self._added

    def _merged(self, given: RawHeaders) -> RawHeaders:
        kept = [pair for pair in given if pair[0] not in self._names]
        varies_by = [value for name, value in given if name == b"vary"]
        return kept + [
            (name, b", ".join([*varies_by, value]) if name == b"vary" else value)
            for name, value in self._added
        ]


def _complete(headers: RawHeaders) -> RawHeaders:
    """Returns the headers of a response to OPTIONS, which is itself one of the methods allowed."""
    return [
        (name, b", ".join(sorted({*value.split(b", "), b"OPTIONS"})) if name == b"allow" else value)
        for name, value in headers
    ]
