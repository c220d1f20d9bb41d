"""A body on its way in, spooled to a temporary file: memory stays flat, no transaction waits.

Who sends nothing, or next to nothing, does not keep a place for others.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from typing import IO, NamedTuple

import structlog
from falcon.asgi import Request
from falcon.asgi.multipart import MultipartForm
from falcon.asgi.reader import BufferedReader
from falcon.media.multipart import MultipartParseError, MultipartParseOptions

from api_gateway.media import GONE
from api_gateway.problems import Problem, bad_request, too_large, unavailable, unsupported

log = structlog.get_logger()

#: The field of a form that holds the file.
FILE = "file"
_FORM_OPTIONS = MultipartParseOptions()
_FORM_OPTIONS.max_body_part_count = 20
_FORM_OPTIONS.max_body_part_buffer_size = 4_096
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


class SentForm(NamedTuple):
    """What a form brought."""

    file: IO[bytes]
    #: As the browser calls the file.
    name: str
    media_type: str
    #: The other fields.
    fields: Mapping[str, str]


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
        for a body that breaks off, 408 for one that hardly comes, 503 while too many come or
        this machine has no room for it.
        """
        encoding = (req.get_header("Content-Encoding") or "identity").strip().lower()
        if encoding not in {"gzip", "identity"}:
            raise unsupported(f"Content-Encoding must be gzip or absent, not {encoding[:50]!r}.")
        async with self._place(req) as file:
            with _room():
                await self._spool(req, file)
                file.flush()
            yield file, encoding == "gzip"

    @asynccontextmanager
    async def spooled_form(self, req: Request, boundary: str) -> AsyncIterator["SentForm"]:
        """The file that a browser's form holds, and its other fields.

        Raises Problem as ``spooled`` does, and 400 for what is no form with one file in it.
        """
        if req.get_header("Content-Encoding"):
            raise unsupported("A form is sent without Content-Encoding; the file in it may be .gz.")
        async with self._place(req) as file:
            with _room():
                sent = await self._spool_form(req, boundary, file)
                file.flush()
            yield sent

    @asynccontextmanager
    async def _place(self, req: Request) -> AsyncIterator[IO[bytes]]:
        """A file for one upload, while there is room."""
        if (req.content_length or 0) > self._max_bytes:
            raise self._too_long()
        if self._free <= 0:
            raise unavailable("Too many uploads are coming in; try again.", retry_after=5)
        self._free -= 1
        try:
            with _room():
                file = tempfile.TemporaryFile(prefix="enroll-upload-", buffering=_WRITE_BYTES)  # noqa: SIM115
            try:
                yield file
            finally:
                with suppress(OSError):  # what there was no room for is not wanted any more
                    file.close()
        finally:
            self._free += 1

    async def _spool(self, req: Request, file: IO[bytes]) -> None:
        async for chunk in self._chunks(req):
            file.write(chunk)

    async def _spool_form(self, req: Request, boundary: str, file: IO[bytes]) -> "SentForm":
        reader = BufferedReader(self._chunks(req))
        parts = MultipartForm(reader, boundary.encode(), None, _FORM_OPTIONS)
        sent: SentForm | None = None
        fields: dict[str, str] = {}
        try:
            async for part in parts:
                name = part.name or ""
                if name in fields or (name == FILE and sent is not None):
                    raise _malformed(f"the field {name[:50]!r} is given twice")
                if name != FILE:
                    fields[name] = (await part.get_data()).decode()
                    continue
                sent = SentForm(file, part.filename or "", part.content_type, fields)
                async for chunk in part.stream:
                    file.write(chunk)
            await reader.exhaust()
        except (MultipartParseError, ValueError) as error:
            await reader.exhaust()  # a body that broke off is no form either, but says so
            raise _malformed(getattr(error, "description", None) or "it is not in UTF-8") from error
        if sent is None:
            raise _malformed(f"it has no field named {FILE}")
        return sent

    async def _chunks(self, req: Request) -> AsyncIterator[bytes]:
        """The body as it comes, if it comes; none that is too long or breaks off."""
        started, size = self._monotonic(), 0
        chunks = aiter(req.stream)
        while (chunk := await self._next(chunks)) is not None:
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_long()
            yield chunk
            passed = self._monotonic() - started
            if passed > self._patience.grace and size < self._patience.pace * passed:
                raise _too_slow(f"fewer than {self._patience.pace:g} bytes came a second")
        _check_complete(req, size)

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        """The next chunk, None at the end."""
        try:
            async with asyncio.timeout(self._patience.silence):
                return await anext(chunks, None)
        except TimeoutError as error:
            raise _too_slow(f"nothing came for {self._patience.silence:g} seconds") from error

    def _too_long(self) -> Problem:
        return too_large(f"An upload may have {self._max_bytes} bytes (ENROLL_MAX_UPLOAD_BYTES).")


def _check_complete(req: Request, size: int) -> None:
    declared = req.content_length
    if declared is not None and size < declared:
        raise bad_request(
            "incomplete_upload", f"The body broke off after {size} of {declared} bytes."
        )
    if GONE in req.scope:
        raise bad_request("incomplete_upload", f"The body broke off after {size} bytes.")


def _malformed(why: str) -> Problem:
    found = {"field": FILE, "rule": "malformed_form"}
    return bad_request("malformed_form", f"The form cannot be read: {why}.", found)


def _too_slow(why: str) -> Problem:
    return Problem(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", f"The upload is too slow: {why}.")


@contextmanager
def _room() -> Iterator[None]:
    """Raises Problem 503 where this machine has no room for an upload."""
    try:
        yield
    except OSError as error:
        log.warning("upload.not_spooled", because=str(error))
        raise unavailable("There is no room for an upload; try again.", retry_after=5) from error
