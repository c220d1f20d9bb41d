"""Ids of requests: of the client if it sends a usable one, else made here."""

import re
import secrets
from collections.abc import Iterable
from itertools import count

HEADER = "X-Request-ID"
_RAW_HEADER = HEADER.lower().encode()
#: Request ids that are accepted from clients.
_ACCEPTED = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)


class RequestIds:
    """Makes ids: a prefix and a number, which needs no system call per request."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)
        self._numbers = count()

    def take(self, given: str | None) -> str:
        """Returns the id that a client sent, or a new one if it is missing or unusable."""
        if given is not None and _ACCEPTED.fullmatch(given):
            return given
        return f"{self._prefix}-{next(self._numbers):08x}"

    def take_from(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Returns the id of a request by its raw headers, whose names are in lower case."""
        given = [value for name, value in headers if name == _RAW_HEADER]
        return self.take(b",".join(given).decode("latin-1") if given else None)
