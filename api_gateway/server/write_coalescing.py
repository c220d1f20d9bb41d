"""Write coalescing: sends the head and the body of a response in one system call.

uvicorn writes each to the socket separately, and a system call takes longer than most of the
other work for a small response.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Maximum bytes in the buffer; more are written immediately, so that flow control still works.
MAX_BUFFERED_BYTES = 64 * 1024


class CoalescingTransport:
    """A transport that joins the writes of one iteration of the event loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._buffer: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Sends the data at the end of this iteration, or now if the buffer is full."""
        if not self._buffer:
            self._loop.call_soon(self.flush)
        self._buffer.append(data)
        self._size += len(data)
        if self._size > MAX_BUFFERED_BYTES:
            self.flush()

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Sends the pieces as `write` does."""
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        """Sends the buffer, then closes the writing end."""
        self.flush()
        if not self._transport.is_closing():
            self._transport.write_eof()

    def flush(self) -> None:
        """Sends the buffer; drops it if the connection is closed or lost.

        A transport of uvloop raises RuntimeError for a write after its end.
        """
        buffer, self._buffer, self._size = self._buffer, [], 0
        if buffer and not self._transport.is_closing():
            self._transport.write(b"".join(buffer))

    def close(self) -> None:
        """Sends the buffer, then closes."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        """Returns all other attributes of the wrapped transport."""
        return getattr(self._transport, name)


class CoalescingProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with write coalescing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wraps the transport of a new connection."""
        wrapped = CoalescingTransport(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", wrapped))
