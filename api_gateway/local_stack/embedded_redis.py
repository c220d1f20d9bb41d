"""Embedded Redis server: fakeredis behind a local TCP port, for stacks without a Redis.

The TCP server of fakeredis polls each connection a hundred times per second, and removes
messages from queues for disconnected clients. This one serves the same commands from an event
loop in one thread: an idle connection costs no CPU time, a disconnected client receives
nothing, and clients must authenticate.
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

#: The reported version, which is the minimum that the queue needs.
REDIS_VERSION = (7, 4)
#: Maximum bytes that a client has not read; beyond it is disconnected.
MAX_UNREAD_BYTES = 64_000_000
_START_SECONDS = 10.0
_INFO = (
    f"# Server\r\nredis_version:{'.'.join(map(str, REDIS_VERSION))}.0\r\nredis_mode:embedded\r\n"
    "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"
).encode()


class _Socket(AsyncFakeSocket):
    """Executes the commands of one client and writes the replies to its transport."""

    def __init__(self, server: FakeServer, transport: Transport, password: bytes) -> None:
        host, port = transport.get_extra_info("peername")[:2]
        info = {"addr": f"{host}:{port}", "name": ""}
        super().__init__(server, 0, client_class=Redis, client_info=info)
        self._transport = transport
        self._password = password
        self._is_authenticated = False
        self._blocking_call: Task[Any] | None = None

    def put_response(self, msg: Any) -> None:
        """Writes a reply or a pub/sub message; disconnects a client that does not read."""
        if self._transport.is_closing():
            return
        self._transport.write(encode_reply(msg, self._client_info.protocol_version))
        if self._transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self._transport.abort()

    def _process_command(self, fields: list[bytes]) -> None:
        """Executes a command; before authentication only AUTH and HELLO."""
        if self._transport.is_closing():
            return
        rest = fields if self._is_authenticated or not fields else self._authenticate(fields)
        if rest is None:
            self.put_response(AuthenticationError("the password is missing or wrong"))
        elif rest and rest[0].upper() == b"INFO":  # which fakeredis does not implement
            self.put_response(_INFO)
        elif rest:
            super()._process_command(rest)
        else:
            self.put_response(b"OK")

    def _authenticate(self, fields: list[bytes]) -> list[bytes] | None:
        """Checks the password in AUTH or HELLO.

        Returns the rest of the command, which may be empty; None for a wrong or missing password.
        """
        words = [field.upper() for field in fields]
        password, rest = b"", fields
        if words[0] == b"AUTH":
            password, rest = fields[-1], []
        elif words[0] == b"HELLO" and b"AUTH" in words[:-2]:
            at = words.index(b"AUTH")
            password, rest = fields[at + 2], fields[:at] + fields[at + 3 :]
        self._is_authenticated = hmac.compare_digest(password, self._password)
        return rest if self._is_authenticated else None

    async def _async_blocking(self, *args: Any, **kwargs: Any) -> None:
        """Runs a blocking command so that `disconnect` can cancel it."""
        self._blocking_call = asyncio.current_task()
        try:
            await super()._async_blocking(*args, **kwargs)
        finally:
            self._blocking_call = None

    def disconnect(self) -> None:
        """Cancels a blocking command, which must take no message, and closes the socket."""
        if self._blocking_call is None:
            self.close()
        else:
            self._blocking_call.add_done_callback(lambda _: self.close())
            self._blocking_call.cancel()


class _Client(asyncio.Protocol):
    """The connection of one client."""

    def __init__(self, server: FakeServer, password: bytes, transports: set[Transport]) -> None:
        self._server = server
        self._password = password
        self._transports = transports

    def connection_made(self, transport: BaseTransport) -> None:
        self._transport = cast("Transport", transport)
        self._transports.add(self._transport)
        self._socket = _Socket(self._server, self._transport, self._password)

    def data_received(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except Exception as error:  # noqa: BLE001 (the error is sent to the client)
            self._transport.write(encode_reply(error, 2))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transports.discard(self._transport)
        self._socket.disconnect()


class EmbeddedRedis:
    """A Redis server in a thread that runs during a `with` block; its data is not stored.

    Losing it loses no requests: the database contains all batches to be processed.
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
        """The URL of the server, with the password."""
        return f"redis://:{self._password}@{self._host}:{self._port}/0"

    def __enter__(self) -> Self:
        """Starts the server; returns once it accepts connections. Raises OSError."""
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
        """Stops the server; returns once its thread has ended."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_SECONDS)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        """Serves until `_stop` is set; stores an OSError in `_failure`."""
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server, password = FakeServer(version=REDIS_VERSION), self._password.encode()
        transports: set[Transport] = set()
        try:
            listener = await self._loop.create_server(
                lambda: _Client(server, password, transports), self._host, self._port
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
        for transport in tuple(transports):
            transport.abort()
        await asyncio.sleep(0)  # runs `connection_lost` of the aborted connections
