"""Answers leave in one piece: head and body are written at the same moment, and sent at once.

uvicorn hands each to the socket by itself, and a call of the system takes longer than most
that happens to a small answer before.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: More than this is handed on at once, so that what holds a writer back still does.
MOST_BYTES = 64 * 1024


class Gathering:
    """A transport that hands on what is written in one turn of the loop as one piece."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Send the data at the end of this turn, or now if there is much already."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > MOST_BYTES:
            self.flush()

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Send the pieces, likewise."""
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        """Send what is held, and that nothing else comes."""
        self.flush()
        self._transport.write_eof()

    def flush(self) -> None:
        """Send what is held."""
        held, self._held, self._size = self._held, [], 0
        if held:
            self._transport.write(b"".join(held))

    def close(self) -> None:
        """Send what is held, and close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        """The rest is the transport's own."""
        return getattr(self._transport, name)


class GatheringProtocol(HttpToolsProtocol):
    """uvicorn's HTTP over such a transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(cast("asyncio.Transport", Gathering(transport, self.loop)))
