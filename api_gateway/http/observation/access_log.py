"""Access records: one `request.done` for each request, written several at a time.

A record of the general log costs about as much as a fast request does. These have a fixed form,
are rendered together, and reach the log by one write.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from enrollment.domain.codes import CallerKind
from enrollment.runtime import logs

#: Keys in the scope: the URI template of the route, and the context of the request.
TEMPLATE = "enroll.template"
CONTEXT = "enroll.context"
#: Seconds after which records are written; those of a process that is killed are lost.
WRITE_SECONDS = 0.25
#: Number of records that are written at once, without delay.
MAX_WAITING = 500


class _Done(NamedTuple):
    at: float
    method: str
    template: str | None
    status: int
    seconds: float
    caller: "NamedCaller | None"
    request_id: str | None


class AccessLog:
    """Collects records and writes them. Belongs to one event loop."""

    def __init__(
        self, write: Callable[[Iterable[logs.Fields]], None] = logs.write_together
    ) -> None:
        self._write = write
        self._waiting: list[_Done] = []
        self._is_scheduled = False

    def note(self, scope: Any, status: int, seconds: float) -> None:
        """Notes a response that begins, and the seconds since its request arrived."""
        context = scope.get(CONTEXT)
        # `context` is None for requests that were refused before the framework saw them
        facts = {} if context is None else context.__dict__
        waiting = self._waiting
        waiting.append(
            _Done(
                time.time(),
                scope["method"],
                scope.get(TEMPLATE),
                status,
                seconds,
                facts.get("caller"),
                facts.get("request_id"),
            )
        )
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_later(WRITE_SECONDS, self._write_scheduled)
        elif len(waiting) >= MAX_WAITING:
            self.write()

    def _write_scheduled(self) -> None:
        self._is_scheduled = False
        self.write()

    def write(self) -> None:
        """Writes what was noted."""
        done, self._waiting = self._waiting, []
        if done:
            self._write(map(_fields, done))


def _fields(done: _Done) -> logs.Fields:
    """Returns the fields of a record."""
    second, fraction = divmod(done.at, 1)
    return {
        "event": "request.done",
        "method": done.method[:20],
        "route": done.template,
        "status": done.status,
        "ms": round(done.seconds * 1000, 2),
        "caller": None if done.caller is None else public_name(done.caller),
        "request_id": done.request_id,
        "level": "info",
        "at": f"{_second(second)}.{int(fraction * 1e6):06}Z",
    }


@lru_cache(maxsize=4)
def _second(timestamp: float) -> str:
    """Renders a second: many records have the same."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat().removesuffix("+00:00")


class NamedCaller(Protocol):
    """A caller with a name, `key:NAME` or `user:USERNAME`, and a kind."""

    @property
    def name(self) -> str:
        """The name."""

    @property
    def kind(self) -> CallerKind:
        """The kind."""


def public_name(caller: NamedCaller) -> str:
    """Returns the name of a key; of a person the kind only."""
    return caller.name if caller.name.startswith("key:") else caller.kind.value
