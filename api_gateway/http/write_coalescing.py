"""Write coalescing: sends the head and the body of a response in one system call.

uvicorn writes each to the socket by itself, and a system call takes longer than most of the
work for a small response.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: More bytes than this are written at once, so that flow control still works.
MAX_HELD_BYTES = 64 * 1024


class CoalescingTransport:
    """A transport that joins the writes of one turn of the event loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Send the data at the end of this turn, or now if much is held."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > MAX_HELD_BYTES:
            self.flush()

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Send the pieces, likewise."""
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        """Send what is held, then close the writing end."""
        self.flush()
        self._transport.write_eof()

    def flush(self) -> None:
        """Send what is held."""
        held, self._held, self._size = self._held, [], 0
        if held:
            self._transport.write(b"".join(held))

    def close(self) -> None:
        """Send what is held, then close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        """All other attributes are those of the wrapped transport."""
        return getattr(self._transport, name)


class CoalescingProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with write coalescing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wrap the transport of a new connection."""
        wrapped = CoalescingTransport(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", wrapped))
