"""A body on its way in, spooled to a temporary file: memory stays flat, no transaction waits."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

from falcon.asgi import Request

from api_gateway.media import GONE
from api_gateway.problems import bad_request, too_large, unsupported

#: Bytes that are gathered before they are written.
_WRITE_BYTES = 1 << 18


@asynccontextmanager
async def spooled(req: Request, max_bytes: int) -> AsyncIterator[tuple[IO[bytes], bool]]:
    """The body as a file, and whether it is gzip; the file is gone after the block.

    Raises Problem 413 beyond the limit, 415 for an encoding that is not read here, 400 for
    a body that breaks off.
    """
    encoding = (req.get_header("Content-Encoding") or "identity").strip().lower()
    if encoding not in {"gzip", "identity"}:
        raise unsupported(f"Content-Encoding must be gzip or absent, not {encoding[:50]!r}.")
    declared = req.content_length
    if declared is not None and declared > max_bytes:
        raise _too_long(max_bytes)
    with tempfile.TemporaryFile(prefix="enroll-upload-", buffering=_WRITE_BYTES) as file:
        size = 0
        async for chunk in req.stream:
            size += len(chunk)
            if size > max_bytes:
                raise _too_long(max_bytes)
            file.write(chunk)
        if declared is not None and size < declared:
            raise bad_request(
                "incomplete_upload", f"The body broke off after {size} of {declared} bytes."
            )
        if GONE in req.scope:
            raise bad_request("incomplete_upload", f"The body broke off after {size} bytes.")
        yield file, encoding == "gzip"


def _too_long(max_bytes: int) -> Exception:
    return too_large(f"An upload may have {max_bytes} bytes (ENROLL_MAX_UPLOAD_BYTES).")
