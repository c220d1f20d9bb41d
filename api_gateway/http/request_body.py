"""Reads request bodies, within a size limit and a deadline, and parses JSON."""

import asyncio
from http import HTTPStatus
from typing import Any

from falcon.asgi import Request

from api_gateway.http.disconnects import DISCONNECTED
from api_gateway.http.problems import Problem, bad_request, too_large, unsupported
from api_gateway.http.responses import JSON_TYPE
from schemas.encoding.i_json import InvalidJson, loads
from schemas.files.source import FileTooLarge, Limits, UnreadableFile, gunzip
from schemas.findings import finding

#: Seconds within which a body must be complete.
BODY_SECONDS = 30.0

_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


async def read_body(
    req: Request, limit: int, *, gzip: bool = False, seconds: float = BODY_SECONDS
) -> bytes:
    """Reads the whole body; `gzip` allows, and decompresses, Content-Encoding gzip.

    Raises Problem (400, 408, 413, 415).
    """
    is_gzip = _is_gzip(req, allowed=gzip)
    declared = req.content_length
    if declared is not None and declared > limit:
        raise _too_long(limit)
    stream = req.stream
    if declared is not None and stream.tell() == declared:
        body = await stream.readall()  # already received with the headers: needs no deadline
    else:
        body = await _read_in_time(req, limit, declared, seconds)
    if len(body) < (declared or 0) or DISCONNECTED in req.scope:
        raise bad_request("incomplete_body", "The request body is incomplete.")
    return _gunzip(body, limit) if is_gzip else body


async def read_received(req: Request, limit: int) -> bytes | None:
    """Returns an unencoded body of at most `limit` bytes that came with the headers, or None."""
    declared = req.content_length
    if not declared or declared > limit or req.get_header("Content-Encoding"):
        return None
    return await req.stream.read() if req.stream.tell() == declared else None


def parse_json(body: bytes) -> Any:
    """Parses JSON. Raises Problem (400)."""
    try:
        return loads(body)
    except InvalidJson as error:
        raise bad_request(
            "malformed_json",
            f"JSON parse error - {error}",
            {
                "line": error.line,
                "column": error.column,
                **finding("", None, "json", error.message),
            },
        ) from error


def check_is_json(req: Request, *, accepted: str = JSON_TYPE) -> None:
    """Raises Problem (415) unless the Content-Type is JSON, in upper or lower case.

    `accepted` names all types that the route accepts, for the message.
    """
    content_type = req.content_type or ""
    if content_type == JSON_TYPE:
        return
    media_type, _, parameters = content_type.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media_type.strip().lower() != JSON_TYPE or (charset and charset not in _CHARSETS):
        given = repr(content_type[:100]) if content_type else "a body without Content-Type"
        raise unsupported(f"Send {accepted} in UTF-8, not {given}.")


def _is_gzip(req: Request, *, allowed: bool) -> bool:
    """Whether the body is gzip. Raises Problem (415) for encodings that are not accepted."""
    header = req.get_header("Content-Encoding")
    if not header:
        return False
    encoding = header.strip().lower()
    if encoding == "identity":
        return False
    if encoding == "gzip" and allowed:
        return True
    expected = "gzip or no encoding" if allowed else "no encoding"
    raise unsupported(f"Content-Encoding {encoding[:40]!r} is not supported here: use {expected}.")


def _too_long(limit: int) -> Problem:
    return too_large(f"The body is longer than {limit} bytes.")


async def _read_in_time(req: Request, limit: int, declared: int | None, seconds: float) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return await (_read_chunked(req, limit) if declared is None else req.stream.read())
    except TimeoutError as error:
        detail = f"The body was not complete within {seconds:g} seconds."
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", detail) from error


async def _read_chunked(req: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in req.stream:
        body += chunk
        if len(body) > limit:
            raise _too_long(limit)
    return bytes(body)


def _gunzip(body: bytes, limit: int) -> bytes:
    try:
        return b"".join(gunzip([body], Limits(max_bytes=limit)))
    except FileTooLarge as error:
        raise too_large(f"Decompressed, the body is too long: {error}.") from error
    except UnreadableFile as error:
        raise bad_request(error.code, error.message, error.finding()) from error
