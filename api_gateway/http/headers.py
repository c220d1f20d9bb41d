"""Parses request headers: Prefer, Idempotency-Key, If-None-Match."""

import hashlib
from typing import NamedTuple
from urllib.parse import parse_qsl

import falcon.asgi

from api_gateway.http.problems import bad_request

#: Maximum seconds that a caller can wait.
MAX_WAIT = 60.0
MAX_KEY = 255


class Preference(NamedTuple):
    """The preferences of ``Prefer`` (RFC 7240); ``wait`` is None if it is not given."""

    wait: float | None = None
    respond_async: bool = False

    def applied(self, default_wait: float) -> tuple[float, str | None]:
        """Return the seconds to wait for the outcome, and the value of Preference-Applied."""
        if self.wait is not None:
            return self.wait, f"wait={self.wait:g}"
        if self.respond_async:
            return 0.0, "respond-async"
        return default_wait, None


#: The preference of a request without Prefer.
NO_PREFERENCE = Preference()


def preference(req: falcon.asgi.Request) -> Preference:
    """Parse Prefer; unknown preferences are ignored, as the RFC requires."""
    given = req.get_header("Prefer")
    if given is None:
        return NO_PREFERENCE
    wait, respond_async = None, False
    for part in given.split(","):
        name, _, value = part.partition(";")[0].strip().partition("=")
        if name.strip().lower() == "respond-async":
            respond_async = True
        elif name.strip().lower() == "wait":
            wait = _seconds(value.strip().strip('"'))
    return Preference(wait, respond_async)


def _seconds(text: str) -> float | None:
    if not text.isascii() or not text.isdigit():
        return None
    return min(float(text[:6]), MAX_WAIT)


def idempotency_key(req: falcon.asgi.Request) -> str | None:
    """Return the Idempotency-Key, None without one. Raises Problem 400 for an invalid key."""
    key: str | None = req.get_header("Idempotency-Key")
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise bad_request(
            "idempotency_key_invalid",
            f"Idempotency-Key must be 1 to {MAX_KEY} printable ASCII characters.",
        )
    return key


def fingerprint_head(req: falcon.asgi.Request) -> "hashlib._Hash":
    """Return a SHA-256 fed with all that makes a request the same, except the body.

    Query parameters count in any order.
    """
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    query = sorted(parse_qsl(req.query_string, keep_blank_values=True))
    head = repr((req.method, req.path, query, media_type)).encode()
    return hashlib.sha256(head + b"\0")


def matches(req: falcon.asgi.Request, etag: str) -> bool:
    """Whether If-None-Match contains the tag (weak comparison, RFC 9110 8.8.3.2)."""
    given = req.get_header("If-None-Match")
    if given is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags
