"""Spools uploads to temporary files.

Memory use does not depend on the size of an upload, and no transaction waits for a slow client.
Uploads that are too slow are rejected.
"""

import asyncio
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from typing import IO, NamedTuple

import structlog
from falcon.asgi import Request
from falcon.asgi.multipart import MultipartForm
from falcon.asgi.reader import BufferedReader
from falcon.media.multipart import MultipartParseError, MultipartParseOptions

from api_gateway.auth.caller import Caller
from api_gateway.auth.quotas import Quota
from api_gateway.http.disconnects import DISCONNECTED
from api_gateway.http.problems import Problem, bad_request, too_large, unavailable, unsupported
from api_gateway.http.request_body import GZIP
from schemas.findings import finding

log = structlog.get_logger()

#: The form field with the file.
FILE_FIELD = "file"
_FORM_OPTIONS = MultipartParseOptions()
_FORM_OPTIONS.max_body_part_count = 20
_FORM_OPTIONS.max_body_part_buffer_size = 4_096
#: Maximum number of uploads that one process receives at the same time, from all callers.
MAX_CONCURRENT_UPLOADS = 32
#: The same from one caller.
MAX_UPLOADS_PER_CALLER = 4
#: When all places are taken an upload must be so many times as fast as when half of them are free.
FULL_USE_FACTOR = 10.0
#: Size of the write buffer in bytes.
_WRITE_BYTES = 1 << 18


class UploadPace(NamedTuple):
    """Limits for slow uploads."""

    #: Maximum seconds without a byte.
    max_idle_seconds: float = 30.0
    #: Seconds over which the pace is measured, and before it is checked.
    window_seconds: float = 30.0
    #: Minimum bytes per second, while at least half of the places are free.
    min_bytes_per_second: float = 1_000.0

    def minimum(self, used_share: float) -> float:
        """Returns the minimum bytes per second while a share (0 to 1) of the places is taken."""
        excess = max(0.0, 2.0 * used_share - 1.0)
        return self.min_bytes_per_second * (1.0 + (FULL_USE_FACTOR - 1.0) * excess)


UPLOAD_PACE = UploadPace()


class PaceMeter:
    """Measures the pace of one upload over the last seconds."""

    def __init__(self, window_seconds: float, started_at: float) -> None:
        self._window_seconds = window_seconds
        #: (monotonic seconds, bytes until then), at least a second apart.
        self._marks: deque[tuple[float, int]] = deque([(started_at, 0)])

    def measure(self, now: float, size: int) -> float | None:
        """Returns the bytes per second in the window; None before it is over once."""
        marks = self._marks
        while len(marks) > 1 and marks[1][0] <= now - self._window_seconds:
            marks.popleft()
        seen_at, seen = marks[0]
        if now - marks[-1][0] >= 1.0:
            marks.append((now, size))
        elapsed = now - seen_at
        return (size - seen) / elapsed if elapsed >= self._window_seconds else None


class UploadForm(NamedTuple):
    """The file and the fields of a multipart form."""

    file: IO[bytes]
    #: The file name that the browser sent.
    file_name: str
    media_type: str
    #: The other fields.
    fields: Mapping[str, str]


class Spooler:
    """Receives a limited number of uploads at the same time. One per event loop."""

    def __init__(
        self,
        max_bytes: int,
        *,
        max_concurrent: int = MAX_CONCURRENT_UPLOADS,
        max_per_caller: int = MAX_UPLOADS_PER_CALLER,
        pace: UploadPace = UPLOAD_PACE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._quota = Quota(
            "uploads",
            setting="ENROLL_MAX_UPLOADS_PER_CALLER",
            per_caller=max_per_caller,
            total=max_concurrent,
        )
        self._pace = pace
        self._monotonic = monotonic

    @asynccontextmanager
    async def spool(self, req: Request) -> AsyncIterator[tuple[IO[bytes], bool]]:
        """Yields the body as a file, and whether it is gzip; deletes the file after the block.

        Raises Problem 400 for an incomplete body, 408 for one that is too slow, 413 beyond the
        limit, 415 for an unsupported encoding, 429 if too many uploads of the caller are being
        received, 503 if too many of all callers are or the disk is full.
        """
        encoding = (req.get_header("Content-Encoding") or "identity").strip().lower()
        if encoding not in {*GZIP, "identity"}:
            raise unsupported(f"Content-Encoding must be gzip or absent, not {encoding[:50]!r}.")
        async with self._temporary_file(req) as file:
            with _check_disk():
                await self._spool(req, file)
                file.flush()
            yield file, encoding in GZIP

    @asynccontextmanager
    async def spool_form(self, req: Request, boundary: str) -> AsyncIterator[UploadForm]:
        """Yields the file of a multipart form and its other fields; deletes it after the block.

        Raises Problem as `spool` does, and 400 unless the body is a form with one file.
        """
        if req.get_header("Content-Encoding"):
            raise unsupported("Send the form without Content-Encoding; the file in it may be .gz.")
        async with self._temporary_file(req) as file:
            with _check_disk():
                form = await self._spool_form(req, boundary, file)
                file.flush()
            yield form

    @asynccontextmanager
    async def _temporary_file(self, req: Request) -> AsyncIterator[IO[bytes]]:
        """Yields a temporary file for one upload. Raises Problem 413, 429, 503."""
        if (req.content_length or 0) > self._max_bytes:
            raise self._too_long()
        caller: Caller = req.context.caller
        with self._quota.place(caller.name), _open_temporary_file() as file:
            yield file

    async def _spool(self, req: Request, file: IO[bytes]) -> None:
        await _copy(self._chunks(req), file)

    async def _spool_form(self, req: Request, boundary: str, file: IO[bytes]) -> UploadForm:
        reader = BufferedReader(self._chunks(req))
        parts = MultipartForm(reader, boundary.encode(), None, _FORM_OPTIONS)
        try:
            form = await _read_parts(parts, file)
            await reader.exhaust()
        except (MultipartParseError, ValueError) as error:
            await reader.exhaust()  # raises Problem if the body is incomplete
            raise _malformed(getattr(error, "description", None) or "it is not in UTF-8") from error
        if form is None:
            raise _malformed(f"it has no field named {FILE_FIELD}")
        return form

    async def _chunks(self, req: Request) -> AsyncIterator[bytes]:
        """Yields the body in chunks. Raises Problem if it is too large, too slow or incomplete."""
        size = 0
        meter = PaceMeter(self._pace.window_seconds, self._monotonic())
        chunks = aiter(req.stream)
        while (chunk := await self._next(chunks)) is not None:
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_long()
            yield chunk
            self._check_pace(meter.measure(self._monotonic(), size))
        _check_complete(req, size)

    def _check_pace(self, pace: float | None) -> None:
        """Raises Problem 408 if the pace is too slow for the number of uploads."""
        minimum = self._pace.minimum(self._quota.used / self._quota.total)
        if pace is not None and pace < minimum:
            raise _too_slow(
                f"fewer than {minimum:.0f} bytes a second were received in the last "
                f"{self._pace.window_seconds:g} seconds"
            )

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        """Returns the next chunk; None at the end. Raises Problem 408."""
        try:
            async with asyncio.timeout(self._pace.max_idle_seconds):
                return await anext(chunks, None)
        except TimeoutError as error:
            raise _too_slow(
                f"nothing was received for {self._pace.max_idle_seconds:g} seconds"
            ) from error

    def _too_long(self) -> Problem:
        return too_large(
            f"An upload may have at most {self._max_bytes} bytes (ENROLL_MAX_UPLOAD_BYTES)."
        )


@contextmanager
def _open_temporary_file() -> Iterator[IO[bytes]]:
    """Yields a new temporary file; deletes it after the block. Raises Problem 503."""
    with _check_disk():
        file = tempfile.TemporaryFile(prefix="enroll-upload-", buffering=_WRITE_BYTES)  # noqa: SIM115
    try:
        yield file
    finally:
        with suppress(OSError):  # closing flushes, which fails on a full disk
            file.close()


async def _read_parts(parts: MultipartForm, file: IO[bytes]) -> UploadForm | None:
    """Writes the file of a form to `file` and collects the fields; None if there is no file.

    Raises Problem 400, MultipartParseError, and ValueError for fields that are not UTF-8.
    """
    form: UploadForm | None = None
    fields: dict[str, str] = {}
    async for part in parts:
        name = part.name or ""
        if name in fields or (name == FILE_FIELD and form is not None):
            raise _malformed(f"the field {name[:50]!r} is given twice")
        if name == FILE_FIELD:
            form = UploadForm(file, part.filename or "", part.content_type, fields)
            await _copy(part.stream, file)
        else:
            fields[name] = (await part.get_data()).decode()
    return form


async def _copy(chunks: AsyncIterable[bytes], file: IO[bytes]) -> None:
    async for chunk in chunks:
        file.write(chunk)


def _check_complete(req: Request, size: int) -> None:
    """Raises Problem 400 if fewer bytes than declared came, or the client disconnected."""
    declared = req.content_length
    if declared is not None and size < declared:
        raise bad_request(
            "incomplete_upload", f"The request body is incomplete: {size} of {declared} bytes."
        )
    if DISCONNECTED in req.scope:
        raise bad_request(
            "incomplete_upload", f"The request body is incomplete: it ended after {size} bytes."
        )


def _malformed(cause: str) -> Problem:
    found = finding(FILE_FIELD, None, "malformed_form")
    return bad_request("malformed_form", f"The form cannot be read: {cause}.", found)


def _too_slow(cause: str) -> Problem:
    detail = f"The upload is too slow: {cause}."
    return Problem(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", detail)


@contextmanager
def _check_disk() -> Iterator[None]:
    """Raises Problem 503 if writing to the disk fails."""
    try:
        yield
    except OSError as error:
        log.warning("upload.not_spooled", because=str(error))
        raise unavailable(
            "There is no disk space for the upload; try again.", retry_after=5
        ) from error
