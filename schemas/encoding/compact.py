"""Compact storage of JSON or text: compressed if long; the first byte names the encoding."""

import zlib

import orjson

_RAW, _ZLIB = b"r", b"z"
#: Smaller values are not compressed: it costs more than it saves.
_WORTH_IT_BYTES = 1_200


def pack(content: bytes) -> bytes:
    """Encode the content, compressed if it is long."""
    if len(content) < _WORTH_IT_BYTES:
        return _RAW + content
    return _ZLIB + zlib.compress(content, 1)


def unpack(packed: bytes) -> bytes:
    """Return what was packed. Raises ValueError for an unknown encoding."""
    marker, content = packed[:1], packed[1:]
    if marker == _RAW:
        return content
    if marker == _ZLIB:
        return zlib.decompress(content)
    message = f"packed values begin with r or z, not {marker!r}"
    raise ValueError(message)


def pack_json(value: object) -> bytes:
    """Encode a JSON value; named tuples become arrays."""
    return pack(orjson.dumps(value, tuple))


def unpack_json(packed: bytes) -> object:
    """Decode a JSON value."""
    return orjson.loads(unpack(packed))
