"""Requests with their headers (Prefer, Accept, Idempotency-Key, If-None-Match) and raw queries."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import falcon.asgi
from falcon.util import mediatypes

from api_gateway.http.problems import bad_request

#: The preferences in Prefer: text without commas, but in quotes.
_PREFERENCES = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
#: A preference without its parameters.
_FIRST_PARAMETER = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*"?)*')
#: Maximum seconds that a caller can wait.
MAX_WAIT = 60.0
MAX_KEY_LENGTH = 255


@lru_cache(maxsize=256)
def _raw_name(name: str) -> bytes:
    return name.lower().encode("latin-1")


class GatewayRequest(falcon.asgi.Request):
    """A request that looks up a missing header as quickly as one that is there.

    The framework raises and catches an exception for it, and most of the headers that are looked
    up for each request are missing.
    """

    __slots__ = ()

    def get_header(self, name: str, required: bool = False, default: Any = None) -> Any:  # noqa: FBT001, FBT002 (the framework's signature)
        """Returns the value of a header, or the default. Raises HTTPMissingHeader if required."""
        value = self._asgi_headers.get(_raw_name(name))
        if value is not None:
            return value.decode("latin-1")
        return super().get_header(name, required=True) if required else default


class Preference(NamedTuple):
    """The preferences in `Prefer` (RFC 7240); `wait` is in seconds, None if absent."""

    wait: float | None = None
    respond_async: bool = False

    def applied(self, default_wait: float) -> tuple[float, str | None]:
        """Returns the seconds to wait for the outcome, and the value of Preference-Applied."""
        if self.wait is not None:
            return self.wait, f"wait={self.wait:g}"
        if self.respond_async:
            return 0.0, "respond-async"
        return default_wait, None


#: The preference of a request without Prefer.
NO_PREFERENCE = Preference()


def read_preference(req: falcon.asgi.Request) -> Preference:
    """Parses Prefer as in RFC 7240, section 2.

    Unknown preferences are ignored; of one that is sent more than once, the first counts.
    """
    header = req.get_header("Prefer")
    if header is None:
        return NO_PREFERENCE
    given: dict[str, str] = {}
    for part in _PREFERENCES.findall(header):
        name, _, value = _FIRST_PARAMETER.findall(part)[0].partition("=")
        given.setdefault(name.strip().lower(), value.strip().strip('"'))
    return Preference(_seconds(given.get("wait", "")), "respond-async" in given)


def _seconds(text: str) -> float | None:
    """Parses the seconds of `wait`, at most `MAX_WAIT`; None if they are invalid."""
    if not text.isascii() or not text.isdigit():
        return None
    return min(float(text[:6]), MAX_WAIT)


def read_idempotency_key(req: falcon.asgi.Request) -> str | None:
    """Returns the Idempotency-Key; None without one. Raises Problem 400 for an invalid key."""
    key: str | None = req.get_header("Idempotency-Key")
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise bad_request(
            "idempotency_key_invalid",
            f"Idempotency-Key must be 1 to {MAX_KEY_LENGTH} printable ASCII characters.",
        )
    return key


def preferred_type(req: falcon.asgi.Request, offered: Sequence[str]) -> str | None:
    """Returns the offered media type that Accept prefers, in upper or lower case; None without.

    Types that are equally good are preferred in the order in which they are offered. Media types
    have no case (RFC 9110, 8.3.1).
    """
    try:
        return mediatypes.best_match(offered, req.accept.lower()) or None
    except ValueError:  # a malformed header prefers nothing
        return None


def restore_plus(course_keys: str) -> str:
    """Returns course keys from a query in which `+` was not percent-encoded.

    It arrives as a space, which no course key contains.
    """
    return course_keys.replace(" ", "+")


def matches_etag(req: falcon.asgi.Request, etag: str) -> bool:
    """Whether If-None-Match contains the tag (weak comparison, RFC 9110 8.8.3.2)."""
    header = req.get_header("If-None-Match")
    if header is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags
