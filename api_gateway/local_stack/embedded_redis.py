"""The Redis of a stack that was given none: fakeredis behind a port of this machine.

fakeredis brings a TCP server of its own, which looks a hundred times a second at each
connection, and takes a message out for clients that are gone. This one serves the same
commands from an event loop in one thread: an idle connection costs nothing, a client that
went away takes nothing, and only who knows the password is served.
"""

import asyncio
import hmac
import secrets
import threading
from asyncio import AbstractEventLoop, BaseTransport, Task, Transport
from types import TracebackType
from typing import Any, Self, cast

from fakeredis import FakeServer
from fakeredis._clients._tcp_server import encode_reply
from fakeredis._socket import AsyncFakeSocket
from redis import AuthenticationError, Redis

#: Oldest Redis that the queue works with, and what this one says it is.
REDIS_VERSION = (7, 4)
#: A client that leaves more than this unread is cut off.
MAX_UNREAD_BYTES = 64_000_000
_START_SECONDS = 10.0
_INFO = (
    f"# Server\r\nredis_version:{'.'.join(map(str, REDIS_VERSION))}.0\r\nredis_mode:embedded\r\n"
    "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"
).encode()


class _Socket(AsyncFakeSocket):
    """One client's commands, answered into its transport."""

    def __init__(self, server: FakeServer, transport: Transport, password: bytes) -> None:
        host, port = transport.get_extra_info("peername")[:2]
        info = {"addr": f"{host}:{port}", "name": ""}
        super().__init__(server, 0, client_class=Redis, client_info=info)
        self._transport = transport
        self._password = password
        self._is_trusted = False
        self._wait: Task[Any] | None = None

    def put_response(self, msg: Any) -> None:
        """Answer at once; what is pushed to subscribers comes this way too."""
        if self._transport.is_closing():
            return
        self._transport.write(encode_reply(msg, self._client_info.protocol_version))
        if self._transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self._transport.abort()

    def _process_command(self, fields: list[bytes]) -> None:
        if self._transport.is_closing():
            return
        rest = fields if self._is_trusted or not fields else self._without_password(fields)
        if rest is None:
            self.put_response(AuthenticationError("the password is missing or wrong"))
        elif rest and rest[0].upper() == b"INFO":  # fakeredis has none
            self.put_response(_INFO)
        elif rest:
            super()._process_command(rest)
        else:
            self.put_response(b"OK")

    def _without_password(self, fields: list[bytes]) -> list[bytes] | None:
        """What is left of AUTH or HELLO when the password was right; None when it was not."""
        words = [field.upper() for field in fields]
        given, rest = b"", fields
        if words[0] == b"AUTH":
            given, rest = fields[-1], []
        elif words[0] == b"HELLO" and b"AUTH" in words[:-2]:
            at = words.index(b"AUTH")
            given, rest = fields[at + 2], fields[:at] + fields[at + 3 :]
        self._is_trusted = hmac.compare_digest(given, self._password)
        return rest if self._is_trusted else None

    async def _async_blocking(self, *args: Any, **kwargs: Any) -> None:
        self._wait = asyncio.current_task()
        try:
            await super()._async_blocking(*args, **kwargs)
        finally:
            self._wait = None

    def leave(self) -> None:
        """Take nothing more, now that the client is gone."""
        if self._wait is None:
            self.close()
        else:
            self._wait.add_done_callback(lambda _: self.close())
            self._wait.cancel()


class _Client(asyncio.Protocol):
    def __init__(self, server: FakeServer, password: bytes, open_ones: set[Transport]) -> None:
        self._server = server
        self._password = password
        self._open_ones = open_ones

    def connection_made(self, transport: BaseTransport) -> None:
        self._transport = cast("Transport", transport)
        self._open_ones.add(self._transport)
        self._socket = _Socket(self._server, self._transport, self._password)

    def data_received(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except Exception as error:  # noqa: BLE001 (a border: whatever it was, this client hears it)
            self._transport.write(encode_reply(error, 2))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_ones.discard(self._transport)
        self._socket.leave()


class EmbeddedRedis:
    """Runs in a thread from ``with`` to its end; what it holds is gone then.

    Nothing that was accepted depends on it: the records say what is to be done.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        self._port = port
        self._password = secrets.token_urlsafe(24)
        self._loop: AbstractEventLoop | None = None
        self._failure: OSError | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="embedded-redis", daemon=True)

    @property
    def url(self) -> str:
        """Where it is, password included."""
        return f"redis://:{self._password}@{self._host}:{self._port}/0"

    def __enter__(self) -> Self:
        """Serving, once the block begins."""
        self._thread.start()
        self._ready.wait(_START_SECONDS)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Gone, once the block has ended."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_SECONDS)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server, password = FakeServer(version=REDIS_VERSION), self._password.encode()
        clients: set[Transport] = set()
        try:
            listener = await self._loop.create_server(
                lambda: _Client(server, password, clients), self._host, self._port
            )
        except OSError as error:
            self._failure, self._loop = error, None
            return
        else:
            self._port = listener.sockets[0].getsockname()[1]
        finally:
            self._ready.set()
        await self._stop.wait()
        listener.close()
        for transport in tuple(clients):
            transport.abort()
        await asyncio.sleep(0)  # lets the aborted connections hear of it
