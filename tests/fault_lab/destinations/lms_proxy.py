"""An HTTP proxy before an LMS, which counts the states that arrive, and may be away."""

import asyncio
import json
import re
import threading
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

LOOPBACK = "127.0.0.1"
#: (course_id, username)
Key = tuple[str, str]
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STATE_PATH = b"POST /api/enrollment/v1/enrollment "
_LARGEST = 8 << 20


class _Message(NamedTuple):
    head: bytes
    body: bytes

    @property
    def key(self) -> Key | None:
        """The enrollment whose state a request has; None for any other request."""
        if not self.head.startswith(_STATE_PATH):
            return None
        members = json.loads(self.body)
        return members["course_details"]["course_id"], members["user"]


class LmsProxy:
    """Passes requests on to a port; each connection here has one there."""

    def __init__(self, port: int, *, lost_every: int) -> None:
        """Of the answers to states every `lost_every`th is lost: the LMS has applied the state."""
        self._target = port
        self._lost_every = lost_every
        #: States that arrived, and those of them whose sender got 200.
        self.sent: Counter[Key] = Counter()
        self.answered: Counter[Key] = Counter()
        #: Number of all states in `sent`.
        self.states = 0
        self.is_away = False
        #: Answers that were lost, and connections that were refused while it was away.
        self.lost = self.refused = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lms-proxy")

    def __enter__(self) -> Self:
        """Listens at a free port."""
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, LOOPBACK, 0, limit=_LARGEST), self._loop
        ).result(10)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{LOOPBACK}:{port}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends all connections."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes on what comes over one connection, until either side ends it."""
        there: asyncio.StreamWriter | None = None
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                if self.is_away:
                    self.refused += 1
                    return
                answers, there = await asyncio.open_connection(
                    LOOPBACK, self._target, limit=_LARGEST
                )
                while await self._pass_one(reader, writer, answers, there):
                    continue
            finally:
                for each in (writer, there):
                    if each is not None:
                        each.close()

    async def _pass_one(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        there: asyncio.StreamWriter,
    ) -> bool:
        """Passes on a request and its answer; returns whether the connection goes on."""
        request = await _read(reader)
        key = request.key
        if self.is_away:
            self.refused += 1
            return False
        if key is not None:
            self.sent[key] += 1
            self.states += 1
        is_lost = key is not None and self.states % self._lost_every == 0
        there.write(request.head + request.body)
        await there.drain()
        answer = await _read(answers)
        if is_lost:
            self.lost += 1
            return False
        writer.write(answer.head + answer.body)
        await writer.drain()
        if key is not None and answer.head.startswith(b"HTTP/1.1 200 "):
            self.answered[key] += 1
        return True


async def _read(reader: asyncio.StreamReader) -> _Message:
    """Reads a message. Raises IncompleteReadError at the end of the connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    found = _LENGTH.search(head)
    return _Message(head, await reader.readexactly(int(found[1])) if found else b"")
