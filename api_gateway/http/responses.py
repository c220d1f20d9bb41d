"""Writes responses: compact JSON and cache headers."""

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from falcon.asgi import Response

JSON = "application/json"

_OPTIONS = orjson.OPT_UTC_Z


def write_json(
    resp: Response, obj: object, status: HTTPStatus = HTTPStatus.OK, media_type: str = JSON
) -> None:
    """Write a JSON response."""
    resp.status = status
    resp.content_type = media_type
    resp.data = dumps(obj)


def keep_private(resp: Response) -> None:
    """Forbid all caching, the browser's too: for responses with personal data."""
    resp.set_header("Cache-Control", "private, no-store")


def dumps(obj: object) -> bytes:
    """Encode as compact JSON; timestamps in ISO 8601, those in UTC with Z."""
    return orjson.dumps(obj, _encode_other, _OPTIONS)


def _encode_other(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    message = f"{type(value).__name__} cannot be encoded as JSON"
    raise TypeError(message)
