"""ASGI middleware for pages of other origins (CORS): an exact list of origins.

Credentials are keys and tokens that the page sends itself: cookies are never asked for, so
`Access-Control-Allow-Credentials` is never sent.
"""

from collections.abc import Collection
from typing import Any

#: Methods that a page may use.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
#: Headers that a page may send.
REQUEST_HEADERS = (
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "X-Edx-Api-Key",
    "X-Request-ID",
)
#: Headers that a page may read, beside those that every page may.
EXPOSED_HEADERS = (
    "Content-Disposition",
    "Deprecation",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
)
#: Seconds for which a browser may keep the answer to a preflight.
PREFLIGHT_SECONDS = 600

_VARY = (b"vary", b"Origin")
_EXPOSED = (b"access-control-expose-headers", ", ".join(EXPOSED_HEADERS).encode())
_PREFLIGHT = [
    (b"access-control-allow-methods", ", ".join(METHODS).encode()),
    (b"access-control-allow-headers", ", ".join(REQUEST_HEADERS).encode()),
    (b"access-control-max-age", str(PREFLIGHT_SECONDS).encode()),
]


def share_with(app: Any, origins: Collection[str]) -> Any:
    """Wraps an ASGI app so that pages of these origins can read its responses.

    Others get the same response without the headers that allow it. Without any origin the app is
    returned as it is.
    """
    if not origins:
        return app
    allowed = frozenset(origin.encode() for origin in origins)

    async def sharing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        # servers may pass an iterable that can be read once only
        headers = scope["headers"] = [tuple(pair) for pair in scope["headers"]]
        given = [value for name, value in headers if name == b"origin"]
        origin = given[0] if len(given) == 1 and given[0] in allowed else None
        if origin is not None and _is_preflight(scope):
            await _answer_preflight(send, origin)
            return

        async def sending(event: Any) -> None:
            if event["type"] == "http.response.start":
                event["headers"] = [*event["headers"], *_sharing_headers(origin)]
            await send(event)

        await app(scope, receive, sending)

    return sharing


def _is_preflight(scope: Any) -> bool:
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


def _sharing_headers(origin: bytes | None) -> list[tuple[bytes, bytes]]:
    """Returns the headers of a response; a cache must know that it depends on the origin."""
    if origin is None:
        return [_VARY]
    return [_VARY, (b"access-control-allow-origin", origin), _EXPOSED]


async def _answer_preflight(send: Any, origin: bytes) -> None:
    """Answers 204: browsers send no credentials with the question, so none are needed."""
    headers = [_VARY, (b"access-control-allow-origin", origin), *_PREFLIGHT]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
