"""Answers of other systems, read within bounds, and names of failures to get one."""

from collections.abc import Sequence
from typing import NamedTuple

import httpx

from enrollment.runtime.outbound.addresses import RefusedDestination

_CHUNK_BYTES = 65_536
#: Errors of a call that got no answer.
CALL_ERRORS = (httpx.RequestError, httpx.InvalidURL, RefusedDestination)
#: Name of each kind of failure without an answer; the first that fits.
_NAMES: Sequence[tuple[type[Exception], str]] = (
    (RefusedDestination, "destination_refused"),
    (httpx.ConnectTimeout, "connect_timeout"),
    (httpx.TimeoutException, "timeout"),
    (httpx.ConnectError, "not_reachable"),
    (httpx.RequestError, "connection_lost"),
    (httpx.InvalidURL, "destination_refused"),
)


class Body(NamedTuple):
    """The first bytes of an answer, and whether these are all."""

    start: bytes
    is_whole: bool
    #: The failure that ended it.
    cut_by: str | None = None


def failure_name(error: Exception) -> str:
    """Returns the name of a failure that is one of `CALL_ERRORS`."""
    return next(name for kind, name in _NAMES if isinstance(error, kind))


def read_bounded(response: httpx.Response, limit: int) -> Body:
    """Reads at most a number of bytes, as they were sent: nothing is decompressed.

    An answer that stops there is one: its status was read.
    """
    start, cut_by = b"", None
    try:
        for chunk in response.iter_raw(min(limit, _CHUNK_BYTES)):
            start += chunk
            if len(start) > limit:
                break
    except httpx.RequestError as error:
        cut_by = type(error).__name__
    return Body(start[:limit], len(start) <= limit and cut_by is None, cut_by)


def storable_text(start: bytes) -> str:
    """Returns the first bytes of an answer as text that can be stored."""
    return start.decode(errors="replace").replace("\0", "\ufffd")
