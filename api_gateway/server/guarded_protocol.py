"""HTTP protocol that guards a connection: the size of heads, deadlines, trailers, the number.

uvicorn bounds none of them. A deadline is an attribute that `ConnectionGuard` compares at
intervals; a request sets it a few times and needs no timer.
"""

import asyncio
import math
import socket
from typing import Any

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from api_gateway.http.disconnects import CUT_OFF
from api_gateway.http.draining import Draining
from api_gateway.http.observation.access_log import CONTEXT
from api_gateway.server import refusals
from api_gateway.server.connection_guard import MAX_HEAD_BYTES, ConnectionGuard
from api_gateway.server.refusals import ClosingResponse
from api_gateway.server.write_coalescing import CoalescingProtocol

log = structlog.get_logger()


def _limit_unread(transport: asyncio.Transport, seconds: float) -> None:
    """Lets the kernel end the connection when the client reads nothing for so long.

    A client that takes a part of a response from time to time, however slowly, stays connected.
    """
    connection = transport.get_extra_info("socket")
    if hasattr(socket, "TCP_USER_TIMEOUT") and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


class GuardedProtocol(CoalescingProtocol):
    """One connection. `deadline` is a time of the event loop's clock, infinite for none."""

    def __init__(self, *, guard: ConnectionGuard, draining: Draining, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.deadline = math.inf
        self.url = b""  # the server sets it with the first byte of a request
        self._guard = guard
        self._limits = guard.limits
        self._draining = draining
        #: Bytes received since the last complete head and the last byte of a body.
        self._pending_bytes = 0
        #: Whether a head has begun and is not complete; the same of a request with its body.
        self._in_head = False
        self._in_request = False
        #: Whether input is dropped until the client has read a refusal.
        self._is_lingering = False
        #: The request that the application works on; `cycle` may be a later one (pipelining).
        self._running: RequestResponseCycle | None = None

    # --- the connection ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admits the connection, or responds 503 if there are too many."""
        super().connection_made(transport)
        _limit_unread(transport, self._limits.unread_seconds)
        if self._guard.admit(self, self.client[0] if self.client else None, self.loop):
            self.deadline = self._guard.now + self._limits.head_seconds
            return
        self._is_lingering = True
        self._write(refusals.TOO_MANY_CONNECTIONS)
        self.transport.close()  # at once: descriptors are what is scarce

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the running request, also if a later one was received already."""
        self.deadline = math.inf
        self._guard.release(self)
        super().connection_lost(exc)
        self.pipeline.clear()
        self._disconnect()

    def data_received(self, data: bytes) -> None:
        """Parses input; refuses heads and trailers that are too long, and malformed requests."""
        if self._is_lingering:
            return
        self._pending_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            log.debug("request.upgrade_ignored")
        except httptools.HttpParserError as error:
            # the parser also fails at a URL of this length
            if not self._is_head_too_long and len(self.url) < MAX_HEAD_BYTES:
                self._guard.warn("request.malformed", self.loop, because=str(error)[:200])
                self._refuse(refusals.MALFORMED)
                return
            self._refuse(refusals.HEAD_TOO_LARGE)
        if self._pending_bytes > MAX_HEAD_BYTES:
            self._refuse(refusals.HEAD_TOO_LARGE)

    @property
    def _is_head_too_long(self) -> bool:
        """Whether a head has begun that is too long already."""
        return self._in_head and self._pending_bytes > MAX_HEAD_BYTES

    # --- callbacks of the parser ------------------------------------------------------

    def on_message_begin(self) -> None:
        """Starts the deadline of a head; that of the first one runs since the connection."""
        CoalescingProtocol.on_message_begin(self)
        self._in_head = self._in_request = True
        if self.cycle is not None:
            self.deadline = self._guard.now + self._limits.head_seconds

    def on_header(self, name: bytes, value: bytes) -> None:
        """Adds a header; drops trailers, which must not count as headers.

        Replaces the method of uvicorn, because it is called for every header.
        """
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Starts the request."""
        self._in_head = False
        self._pending_bytes = 0
        self.deadline = math.inf
        CoalescingProtocol.on_headers_complete(self)
        if self._draining.is_draining:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Adds a part of the body; the application has a deadline for the rest."""
        self._pending_bytes = 0
        if not self.cycle.response_complete:
            self.deadline = math.inf
        CoalescingProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        """Ends the deadline of the body."""
        self._pending_bytes = 0
        self._in_request = False
        self.deadline = math.inf
        if self.cycle.response_complete:
            self.deadline = self._guard.now + self._limits.keep_alive_seconds
        CoalescingProtocol.on_message_complete(self)

    # --- requests and responses -------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Runs the application; its first body byte has a deadline unless the client waits."""
        self._running = cycle
        if cycle.more_body and not cycle.waiting_for_100_continue:
            self.deadline = self._guard.now + self._limits.first_body_seconds
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Starts the next request, or the deadline of what must follow the response.

        Replaces the method of uvicorn, which starts a timer for every response.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._in_request and not self._in_head:
            self.deadline = self._guard.now + self._limits.rest_of_body_seconds
        elif not self._in_head:
            self.deadline = self._guard.now + self._limits.keep_alive_seconds

    def expire(self) -> None:
        """Ends the connection because of its deadline; responds 408 to an unfinished request."""
        self.deadline = math.inf
        running = self._running
        is_answered = running is None or running.response_complete
        if self._is_lingering:
            self.transport.abort()
        elif self._in_head:
            self._refuse(refusals.HEAD_TOO_SLOW)
        elif self._in_request and not is_answered:
            self._refuse(refusals.BODY_TOO_SLOW)
        else:
            self.transport.close()

    def cut_off(self) -> None:
        """Ends the connection at the end of a shutdown; responds 503 to a running request."""
        running = self._running
        if running is not None and not running.response_complete:
            running.scope[CUT_OFF] = True  # type: ignore[literal-required]
            if not running.response_started:
                self._write(refusals.SHUTTING_DOWN)
        self._disconnect()
        self.transport.close()

    def _refuse(self, refusal: ClosingResponse) -> None:
        """Responds, if no other response is under way, and closes once the client has read it."""
        if self.transport.is_closing():
            return
        running = self._running
        is_busy = running is not None and not running.response_complete
        if not is_busy or (running is self.cycle and not self._in_head and not self._has_started):
            self._write(refusal)
        self._disconnect()
        self._is_lingering = True
        self.transport.write_eof()
        self.deadline = self._guard.now + self._limits.linger_seconds
        self.flow.resume_reading()

    @property
    def _has_started(self) -> bool:
        """Whether the response to the running request has started."""
        return self._running is not None and self._running.response_started

    def _write(self, refusal: ClosingResponse) -> None:
        request_id = self._request_id()
        self.transport.write(refusal.encode(self.server_state.default_headers, request_id))

    def _request_id(self) -> str:
        """Returns the id of the request that is refused, as the application has it if it has."""
        running, ids = self._running, self._guard.request_ids
        if self._in_head:
            return ids.take_from(self.headers)
        if running is None or running.response_complete:
            return ids.take(None)
        context: Any = running.scope.get(CONTEXT)
        if context is None:
            return ids.take_from(running.scope["headers"])
        return str(context.request_id)

    def _disconnect(self) -> None:
        """Tells the running request that its client is disconnected."""
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
            self.flow.resume_writing()
