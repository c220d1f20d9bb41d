"""A client of event streams in a process: it reads when told to, and may go away."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from falcon import testing

from tests.support.gateway import PATIENCE, Gateway, Headers

EVENTS = {"Accept": "text/event-stream"}


class Event(NamedTuple):
    """An event as it was sent, with its data."""

    name: str
    id: str
    shown: Any


def events_in(text: str) -> list[Event]:
    """Returns the events of a stream; comments and blocks without data are left out."""
    blocks = [block for block in text.split("\n\n") if "data: " in block]
    fields = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
    return [Event(it["event"], it["id"], json.loads(it["data"])) for it in fields]


class Reader:
    """A client that keeps a connection open."""

    def __init__(self, gateway: Gateway, path: str, who: Headers, **headers: str) -> None:
        """`path` may have a query."""
        self._gateway = gateway
        self.reads = asyncio.Event()
        self.reads.set()
        self._gone = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        path, _, query = path.partition("?")
        scope = testing.create_scope(
            path=path,
            query_string=query,
            headers={**who, **EVENTS, **headers},
            http_version="1.1",
        )
        self._requested = False
        self.task = self._on_loop(self._start(scope))

    async def _start(self, scope: dict[str, Any]) -> "asyncio.Future[None]":
        app = self._gateway._conductor.app
        return asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._requested:
            self._requested = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, event: dict[str, Any]) -> None:
        await self.reads.wait()
        self.sent.append(event)

    def _on_loop(self, work: Awaitable[Any]) -> Any:
        return self._gateway._run(work)

    def go_away(self) -> None:
        """Disconnects."""
        self._gateway._loop.call_soon_threadsafe(self._gone.set)

    def stop_reading(self) -> None:
        """Takes nothing more, as a slow client whose buffers are full."""
        self._gateway._loop.call_soon_threadsafe(self.reads.clear)

    def read_on(self) -> None:
        """Takes everything again."""
        self._gateway._loop.call_soon_threadsafe(self.reads.set)

    @property
    def text(self) -> str:
        """Everything that was received."""
        return b"".join(it.get("body", b"") for it in self.sent).decode()

    @property
    def events(self) -> list[Event]:
        """The events that were received."""
        return events_in(self.text)

    def until(self, is_so: Callable[[], object]) -> None:
        """Waits for a condition."""

        async def looked() -> None:
            async with asyncio.timeout(PATIENCE):
                while not is_so():  # noqa: ASYNC110 (what is sent tells nobody)
                    await asyncio.sleep(0.005)

        self._on_loop(looked())

    def until_ended(self) -> None:
        """Waits for the end of the response."""
        self.until(self.task.done)
        self.task.result()
