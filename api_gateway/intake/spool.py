"""Spools uploads to temporary files: flat memory, no transaction waits for a slow client.

Clients that send nothing, or next to nothing, are disconnected.
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

from api_gateway.http.disconnects import DISCONNECTED
from api_gateway.http.problems import Problem, bad_request, too_large, unavailable, unsupported
from schemas.findings import finding

log = structlog.get_logger()

#: The form field with the file.
FILE = "file"
_FORM_OPTIONS = MultipartParseOptions()
_FORM_OPTIONS.max_body_part_count = 20
_FORM_OPTIONS.max_body_part_buffer_size = 4_096
#: Uploads that one process receives at once.
MAX_AT_ONCE = 32
#: Size of the write buffer.
_WRITE_BYTES = 1 << 18


class UploadPace(NamedTuple):
    """How slow an upload may be."""

    #: Maximum seconds without a byte.
    max_silence: float = 30.0
    #: Seconds before the pace is checked.
    grace: float = 30.0
    #: Minimum bytes a second, on average since the start.
    pace: float = 1_000.0


UPLOAD_PACE = UploadPace()


class UploadForm(NamedTuple):
    """The file and the fields of a multipart form."""

    file: IO[bytes]
    #: The file name that the browser gave.
    name: str
    media_type: str
    #: The other fields.
    fields: Mapping[str, str]


class Spooler:
    """Receives uploads, a limited number at once. One per event loop."""

    def __init__(
        self,
        max_bytes: int,
        *,
        at_once: int = MAX_AT_ONCE,
        pace: UploadPace = UPLOAD_PACE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._free = at_once
        self._pace = pace
        self._monotonic = monotonic

    @asynccontextmanager
    async def spool(self, req: Request) -> AsyncIterator[tuple[IO[bytes], bool]]:
        """Yield the body as a file, and whether it is gzip; the file is deleted after the block.

        Raises Problem 400 for an incomplete body, 408 for one that is too slow, 413 beyond the
        limit, 415 for an unsupported encoding, 503 if too many uploads are being received or
        the disk is full.
        """
        encoding = (req.get_header("Content-Encoding") or "identity").strip().lower()
        if encoding not in {"gzip", "identity"}:
            raise unsupported(f"Content-Encoding must be gzip or absent, not {encoding[:50]!r}.")
        async with self._temporary_file(req) as file:
            with _check_disk():
                await self._spool(req, file)
                file.flush()
            yield file, encoding == "gzip"

    @asynccontextmanager
    async def spool_form(self, req: Request, boundary: str) -> AsyncIterator[UploadForm]:
        """Yield the file in a browser's form, and its other fields.

        Raises Problem as `spool` does, and 400 for anything but a form with one file.
        """
        if req.get_header("Content-Encoding"):
            raise unsupported("Send the form without Content-Encoding; the file in it may be .gz.")
        async with self._temporary_file(req) as file:
            with _check_disk():
                sent = await self._spool_form(req, boundary, file)
                file.flush()
            yield sent

    @asynccontextmanager
    async def _temporary_file(self, req: Request) -> AsyncIterator[IO[bytes]]:
        """Yield a temporary file for one upload, if the limits allow it."""
        if (req.content_length or 0) > self._max_bytes:
            raise self._too_long()
        if self._free <= 0:
            raise unavailable("Too many uploads at once; try again.", retry_after=5)
        self._free -= 1
        try:
            with _check_disk():
                file = tempfile.TemporaryFile(prefix="enroll-upload-", buffering=_WRITE_BYTES)  # noqa: SIM115
            try:
                yield file
            finally:
                with suppress(OSError):  # flushing to a full disk
                    file.close()
        finally:
            self._free += 1

    async def _spool(self, req: Request, file: IO[bytes]) -> None:
        async for chunk in self._chunks(req):
            file.write(chunk)

    async def _spool_form(self, req: Request, boundary: str, file: IO[bytes]) -> UploadForm:
        reader = BufferedReader(self._chunks(req))
        parts = MultipartForm(reader, boundary.encode(), None, _FORM_OPTIONS)
        sent: UploadForm | None = None
        fields: dict[str, str] = {}
        try:
            async for part in parts:
                name = part.name or ""
                if name in fields or (name == FILE and sent is not None):
                    raise _malformed(f"the field {name[:50]!r} is given twice")
                if name != FILE:
                    fields[name] = (await part.get_data()).decode()
                    continue
                sent = UploadForm(file, part.filename or "", part.content_type, fields)
                async for chunk in part.stream:
                    file.write(chunk)
            await reader.exhaust()
        except (MultipartParseError, ValueError) as error:
            await reader.exhaust()  # raises if the reason is an incomplete body
            raise _malformed(getattr(error, "description", None) or "it is not in UTF-8") from error
        if sent is None:
            raise _malformed(f"it has no field named {FILE}")
        return sent

    async def _chunks(self, req: Request) -> AsyncIterator[bytes]:
        """Yield the body in chunks; enforce size, pace and completeness."""
        started, size = self._monotonic(), 0
        chunks = aiter(req.stream)
        while (chunk := await self._next(chunks)) is not None:
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_long()
            yield chunk
            passed = self._monotonic() - started
            if passed > self._pace.grace and size < self._pace.pace * passed:
                raise _too_slow(f"fewer than {self._pace.pace:g} bytes a second were received")
        _check_complete(req, size)

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        """Return the next chunk, None at the end."""
        try:
            async with asyncio.timeout(self._pace.max_silence):
                return await anext(chunks, None)
        except TimeoutError as error:
            raise _too_slow(
                f"nothing was received for {self._pace.max_silence:g} seconds"
            ) from error

    def _too_long(self) -> Problem:
        return too_large(
            f"An upload may have at most {self._max_bytes} bytes (ENROLL_MAX_UPLOAD_BYTES)."
        )


def _check_complete(req: Request, size: int) -> None:
    declared = req.content_length
    if declared is not None and size < declared:
        raise bad_request(
            "incomplete_upload", f"The request body is incomplete: {size} of {declared} bytes."
        )
    if DISCONNECTED in req.scope:
        raise bad_request(
            "incomplete_upload", f"The request body is incomplete: it ended after {size} bytes."
        )


def _malformed(why: str) -> Problem:
    found = finding(FILE, None, "malformed_form")
    return bad_request("malformed_form", f"The form cannot be read: {why}.", found)


def _too_slow(why: str) -> Problem:
    return Problem(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", f"The upload is too slow: {why}.")


@contextmanager
def _check_disk() -> Iterator[None]:
    """Turn a full disk into Problem 503."""
    try:
        yield
    except OSError as error:
        log.warning("upload.not_spooled", because=str(error))
        raise unavailable(
            "There is no disk space for the upload; try again.", retry_after=5
        ) from error
