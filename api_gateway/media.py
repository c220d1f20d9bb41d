"""Bodies: read whole within a limit and a deadline, written as compact JSON."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from falcon.asgi import Request, Response

from api_gateway.problems import Problem, bad_request, too_large, unsupported
from schemas.i_json import InvalidJson, loads
from schemas.source import FileTooLarge, Limits, UnreadableFile, gunzipped

#: Seconds within which a body must have come in whole.
BODY_SECONDS = 30.0
MAX_JSON = 1_000_000
JSON = "application/json"

#: Where ``noting_disconnects`` notes in the scope that a client has gone.
GONE = "enroll.gone"
#: Where who answers slowly leaves a function that is called when the client goes.
ON_GONE = "enroll.on_gone"
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_OPTIONS = orjson.OPT_UTC_Z


def noting_disconnects(app: Any) -> Any:
    """Wrap an ASGI app so that a body that was broken off can be told from a whole one.

    Falcon's stream just ends when a client goes away, which a chunked body does as well.
    """

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        async def noted() -> Any:
            event = await receive()
            if event["type"] == "http.disconnect":
                scope[GONE] = True
                scope.get(ON_GONE, _nothing)()
            return event

        await app(scope, noted if scope["type"] == "http" else receive, send)

    return noting


def _nothing() -> None:
    """Nobody wants to know."""


async def read_body(
    req: Request, limit: int, *, gzip: bool = False, seconds: float = BODY_SECONDS
) -> bytes:
    """The whole body, unpacked if it may be packed. Raises Problem (400, 408, 413, 415)."""
    packed = _is_packed(req, allowed=gzip)
    declared = req.content_length
    if declared is not None and declared > limit:
        raise _longer_than(limit)
    if declared is not None and req.stream.tell() == declared:
        body = await req.stream.read()  # it came with its head; a deadline takes longer to set
    else:
        body = await _in_time(req, limit, declared, seconds)
    if len(body) < (declared or 0) or GONE in req.scope:
        raise bad_request("incomplete_body", "The body was broken off.")
    return _unpacked(body, limit) if packed else body


async def read_json(req: Request, limit: int = MAX_JSON) -> Any:
    """The JSON that the body holds. Raises Problem (400, 408, 413, 415)."""
    check_is_json(req)
    return parsed_json(await read_body(req, limit))


def parsed_json(body: bytes) -> Any:
    """The JSON in a body. Raises Problem (400)."""
    try:
        return loads(body)
    except InvalidJson as error:
        raise bad_request(
            "malformed_json",
            f"JSON parse error - {error}",
            {"line": error.line, "column": error.column, "rule": "json", "field": ""},
        ) from error


def check_is_json(req: Request, *, also: str | None = None) -> None:
    """Raise a Problem (415) for any other Content-Type; its case says nothing.

    ``also`` is what would do beside JSON, for the message.
    """
    given = req.content_type or ""
    if given == JSON:
        return
    kind, _, options = given.partition(";")
    charset = options.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != JSON or (charset and charset not in _CHARSETS):
        known = JSON if also is None else f"{JSON} or {also}"
        raise unsupported(f"Send {known} in UTF-8, not {given[:100]!r}.")


def write_json(
    resp: Response, obj: object, status: HTTPStatus = HTTPStatus.OK, media_type: str = JSON
) -> None:
    """Answer with JSON."""
    resp.status = status
    resp.content_type = media_type
    resp.data = dumps(obj)


def keep_private(resp: Response) -> None:
    """What is about persons is kept by nobody on the way, and not by the browser."""
    resp.set_header("Cache-Control", "private, no-store")


def dumps(obj: object) -> bytes:
    """Compact JSON; moments are ISO 8601, those in UTC with Z."""
    return orjson.dumps(obj, _plain, _OPTIONS)


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    message = f"{type(value).__name__} is not made for JSON"
    raise TypeError(message)


def _is_packed(req: Request, *, allowed: bool) -> bool:
    given = req.get_header("Content-Encoding")
    encoding = "identity" if not given else given.strip().lower()
    if encoding == "identity":
        return False
    if encoding == "gzip" and allowed:
        return True
    expected = "gzip or nothing" if allowed else "nothing"
    raise unsupported(f"Content-Encoding {encoding[:40]!r} is not read here: use {expected}.")


def _longer_than(limit: int) -> Problem:
    return too_large(f"The body is longer than {limit} bytes.")


async def _in_time(req: Request, limit: int, declared: int | None, seconds: float) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return await (_whole(req, limit) if declared is None else req.stream.read())
    except TimeoutError as error:
        detail = f"The body did not come in whole within {seconds:g} seconds."
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", detail) from error


async def _whole(req: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in req.stream:
        body += chunk
        if len(body) > limit:
            raise _longer_than(limit)
    return bytes(body)


def _unpacked(body: bytes, limit: int) -> bytes:
    try:
        return b"".join(gunzipped([body], Limits(max_bytes=limit)))
    except FileTooLarge as error:
        raise too_large(f"Unpacked, the body is too long: {error}.") from error
    except UnreadableFile as error:
        raise bad_request(error.code, error.message, error.finding()) from error
