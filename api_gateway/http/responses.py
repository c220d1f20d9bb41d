"""Writes responses in compact JSON."""

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from falcon.asgi import Response

JSON_TYPE = "application/json"

_OPTIONS = orjson.OPT_UTC_Z


def write_json(
    resp: Response, obj: object, status: HTTPStatus = HTTPStatus.OK, media_type: str = JSON_TYPE
) -> None:
    """Writes a JSON response."""
    resp.status = status
    resp.content_type = media_type
    resp.data = dumps(obj)


def dumps(obj: object) -> bytes:
    """Encodes as compact JSON; timestamps are ISO 8601, with `Z` if in UTC."""
    return orjson.dumps(obj, _encode_other, _OPTIONS)


def _encode_other(value: object) -> object:
    """Converts a value that orjson does not encode itself. Raises TypeError."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    message = f"{type(value).__name__} cannot be encoded as JSON"
    raise TypeError(message)
