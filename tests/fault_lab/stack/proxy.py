"""A TCP proxy with failure modes, in a thread of its own."""

import asyncio
import random
import re
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from tests.fault_lab.stack.proxy_modes import (
    BlackHole,
    CutBeforeReply,
    CutBeforeRequest,
    Delay,
    DropFraction,
    HalfOpen,
    Mode,
    Pass,
    Reset,
    Seen,
    Slow,
    Vanish,
)
from tests.support.silent_cut import drop_segments

LOOPBACK = "127.0.0.1"
CHUNK = 65_536
#: Bytes of earlier chunks that are kept for matching a pattern.
_TAIL = 256
#: Slow connections get this many pieces a second.
_PIECES = 20
_AT_ONCE = struct.pack("ii", 1, 0)
_CONTROL_SECONDS = 10.0
#: Iterations of the event loop in which cancelled tasks are awaited when it closes.
_TURNS_TO_CLOSE = 5


@dataclass(eq=False)
class _Link:
    """A connection of a client, and its connection to the target."""

    client: asyncio.StreamWriter
    target: asyncio.StreamWriter | None = None
    #: The server side is closed, and the client does not know.
    is_dead: bool = False
    #: The next answer of the server is dropped.
    is_doomed: bool = False
    #: The end of what the client sent before.
    tail: bytes = b""
    pumps: list[asyncio.Task[None]] = field(default_factory=list)


def _no_news(_loop: object, _about: object) -> None:
    """Ignores an error that streams of Python 3.11 report for cancelled tasks."""


class Proxy:
    """Listens on a loopback port and forwards to the target according to its mode."""

    def __init__(self, host: str, target_port: int, *, port: int = 0) -> None:
        self.port = port
        self._target = (host, target_port)
        self._seen = Seen()
        self._mode: Mode = Pass()
        self._random = random.Random(0)
        self._links: set[_Link] = set()
        #: Connections to the target whose client vanished; they stay open to the end.
        self._silent: list[asyncio.StreamWriter] = []
        #: All transports that may be open; flushing may outlive its link.
        self._writers: WeakSet[asyncio.StreamWriter] = WeakSet()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def seen(self) -> Seen:
        """Returns a copy of the counters."""
        return replace(self._seen)

    @property
    def mode(self) -> Mode:
        """Returns the mode."""
        return self._mode

    def start(self) -> Self:
        """Starts to listen."""
        self._thread.start()
        self.port = self._ask(self._listen())
        return self

    def set(self, mode: Mode) -> None:
        """Sets the mode of all connections, existing ones too, before it returns."""
        self._ask(self._switch(mode))

    def stop(self) -> None:
        """Closes all connections and the thread; a second call does nothing."""
        if self._loop.is_closed():
            return
        self._ask(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _ask(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(_CONTROL_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._changed = asyncio.Event()
        self._loop.run_forever()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port, backlog=512)
        return int(self._server.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        self._server.close()
        self._loop.set_exception_handler(_no_news)
        for link in list(self._links):
            self._reset(link, counts=False)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in list(self._writers):
            writer.transport.abort()
        for _ in range(_TURNS_TO_CLOSE):
            await asyncio.sleep(0)

    async def _switch(self, mode: Mode) -> None:
        self._mode = mode
        if isinstance(mode, DropFraction | CutBeforeReply | CutBeforeRequest | Vanish):
            self._random = random.Random(mode.seed)
        for link in list(self._links):
            if isinstance(mode, Reset):
                self._reset(link)
            elif isinstance(mode, HalfOpen):
                self._half_open(link)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._seen.connections += 1
        link = _Link(writer)
        self._links.add(link)
        self._writers.add(writer)
        try:
            await self._until_open()
            if isinstance(self._mode, Reset):
                self._reset(link)
                return
            from_target, link.target = await asyncio.open_connection(*self._target)
            self._writers.add(link.target)
            for one in (link.client, link.target):
                one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.pumps = [
                asyncio.create_task(self._requests(link, reader, link.target)),
                asyncio.create_task(self._replies(link, from_target, writer)),
            ]
            await asyncio.wait(link.pumps, return_when=asyncio.FIRST_COMPLETED)
            if link.is_dead:
                await link.pumps[0]
        except OSError:
            self._seen.refused += 1
            self._reset(link, counts=False)
        finally:
            await self._close(link)

    async def _requests(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Forwards data of the client to the target."""
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if link.is_dead:
                    self._seen.bytes_swallowed += len(data)
                    continue
                if self._aims_at(link, data):
                    if isinstance(self._mode, CutBeforeRequest):
                        self._seen.requests_cut += 1
                        self._reset(link)
                        return
                    link.is_doomed = True
                if isinstance(self._mode, Vanish) and self._random.random() < self._mode.p:
                    await self._vanish(link, data, writer)
                    continue
                await self._pass_on(link, data, writer)

    async def _replies(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Forwards data of the target to the client."""
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if link.is_doomed:
                    self._seen.replies_swallowed += 1
                    self._seen.bytes_swallowed += len(data)
                    self._reset(link)
                    return
                if not link.is_dead:
                    await self._pass_on(link, data, writer)

    def _aims_at(self, link: _Link, data: bytes) -> bool:
        """Returns whether this chunk completes the pattern at which the mode cuts."""
        mode, tail = self._mode, link.tail
        whole = tail + data
        link.tail = whole[-_TAIL:]
        if not isinstance(mode, CutBeforeReply | CutBeforeRequest):
            return False
        if callable(mode.when):
            found = mode.when(data)
        else:
            when = mode.when
            pattern = re.compile(re.escape(when)) if isinstance(when, bytes) else when
            found = any(match.end() > len(tail) for match in pattern.finditer(whole))
        return found and self._random.random() < mode.p

    async def _pass_on(self, link: _Link, data: bytes, writer: asyncio.StreamWriter) -> None:
        mode = self._mode
        if isinstance(mode, DropFraction) and self._random.random() < mode.p:
            self._reset(link)
            return
        if isinstance(mode, BlackHole):
            self._seen.bytes_held += len(data)
            await self._until_open()
        elif isinstance(mode, Delay):
            self._seen.delayed_chunks += 1
            await self._pause(mode.seconds)
        elif isinstance(mode, Slow):
            data = await self._drip(link, data, writer, mode)
        if link.is_dead:
            self._seen.bytes_swallowed += len(data)
            return
        await self._write(data, writer)

    async def _drip(
        self, link: _Link, data: bytes, writer: asyncio.StreamWriter, mode: Slow
    ) -> bytes:
        """Forwards a little at a time; returns what is left when the mode changes."""
        size = max(1, mode.bytes_per_second // _PIECES)
        self._seen.delayed_chunks += 1
        while data and self._mode is mode and not link.is_dead:
            await self._pause(min(size, len(data)) / mode.bytes_per_second)
            await self._write(data[:size], writer)
            data = data[size:]
        return data

    async def _write(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        self._seen.bytes_passed += len(data)

    async def _pause(self, seconds: float) -> None:
        """Waits for some time, or until the mode changes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _until_open(self) -> None:
        while isinstance(self._mode, BlackHole):
            await self._changed.wait()

    async def _vanish(self, link: _Link, data: bytes, writer: asyncio.StreamWriter) -> None:
        """Forwards half of the data; from then on the server meets silence."""
        await self._write(data[: len(data) // 2], writer)
        drop_segments(writer.get_extra_info("socket"))
        link.is_dead = True
        self._seen.vanished += 1
        self._silent.append(writer)

    def _half_open(self, link: _Link) -> None:
        if link.target is not None and not link.is_dead:
            link.is_dead = True
            self._seen.half_opened += 1
            link.target.close()

    def _reset(self, link: _Link, *, counts: bool = True) -> None:
        """Closes both sides at once with a reset."""
        if link not in self._links:
            return
        self._links.discard(link)
        self._seen.resets += counts
        for writer in (link.client, link.target):
            if writer is not None:
                with suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE
                    )
                writer.transport.abort()

    async def _close(self, link: _Link) -> None:
        self._links.discard(link)
        for pump in link.pumps:
            pump.cancel()
        await asyncio.gather(*link.pumps, return_exceptions=True)
        for writer in (link.client, link.target):
            if writer is not None and writer not in self._silent:
                writer.close()
