"""A body on its way in, spooled to a temporary file: memory stays flat, no transaction waits.

Who sends nothing, or next to nothing, does not keep a place for others.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import IO, NamedTuple

from falcon.asgi import Request

from api_gateway.media import GONE
from api_gateway.problems import Problem, bad_request, too_large, unavailable, unsupported

#: Uploads that may be coming in at once in one process.
MAX_AT_ONCE = 32
#: Bytes that are gathered before they are written.
_WRITE_BYTES = 1 << 18


class Patience(NamedTuple):
    """How slow an upload may be."""

    #: Seconds without a byte.
    silence: float = 30.0
    #: Seconds before its pace is looked at.
    grace: float = 30.0
    #: Bytes a second, from its first second on.
    pace: float = 1_000.0


PATIENCE = Patience()


class Spooling:
    """Takes uploads in. One per event loop."""

    def __init__(
        self,
        max_bytes: int,
        *,
        at_once: int = MAX_AT_ONCE,
        patience: Patience = PATIENCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._free = at_once
        self._patience = patience
        self._monotonic = monotonic

    @asynccontextmanager
    async def spooled(self, req: Request) -> AsyncIterator[tuple[IO[bytes], bool]]:
        """The body as a file, and whether it is gzip; the file is gone after the block.

        Raises Problem 413 beyond the limit, 415 for an encoding that is not read here, 400
        for a body that breaks off, 408 for one that hardly comes, 503 while too many come.
        """
        encoding = (req.get_header("Content-Encoding") or "identity").strip().lower()
        if encoding not in {"gzip", "identity"}:
            raise unsupported(f"Content-Encoding must be gzip or absent, not {encoding[:50]!r}.")
        if (req.content_length or 0) > self._max_bytes:
            raise self._too_long()
        if self._free <= 0:
            raise unavailable("Too many uploads are coming in; try again.", retry_after=5)
        self._free -= 1
        try:
            with tempfile.TemporaryFile(prefix="enroll-upload-", buffering=_WRITE_BYTES) as file:
                await self._spool(req, file)
                yield file, encoding == "gzip"
        finally:
            self._free += 1

    async def _spool(self, req: Request, file: IO[bytes]) -> None:
        size, declared = 0, req.content_length
        async for chunk in self._chunks(req):
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_long()
            file.write(chunk)
        if declared is not None and size < declared:
            raise bad_request(
                "incomplete_upload", f"The body broke off after {size} of {declared} bytes."
            )
        if GONE in req.scope:
            raise bad_request("incomplete_upload", f"The body broke off after {size} bytes.")

    async def _chunks(self, req: Request) -> AsyncIterator[bytes]:
        """The body as it comes, if it comes."""
        started, size = self._monotonic(), 0
        chunks = aiter(req.stream)
        while (chunk := await self._next(chunks)) is not None:
            yield chunk
            size += len(chunk)
            passed = self._monotonic() - started
            if passed > self._patience.grace and size < self._patience.pace * passed:
                raise _too_slow(f"fewer than {self._patience.pace:g} bytes came a second")

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        """The next chunk, None at the end."""
        try:
            async with asyncio.timeout(self._patience.silence):
                return await anext(chunks, None)
        except TimeoutError as error:
            raise _too_slow(f"nothing came for {self._patience.silence:g} seconds") from error

    def _too_long(self) -> Problem:
        return too_large(f"An upload may have {self._max_bytes} bytes (ENROLL_MAX_UPLOAD_BYTES).")


def _too_slow(why: str) -> Problem:
    return Problem(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", f"The upload is too slow: {why}.")
