"""Compact storage of JSON or text: compressed if long; the first byte names the encoding."""

import zlib

import orjson

_RAW, _ZLIB = b"r", b"z"
#: Smaller values are not compressed: it costs more than it saves.
_MIN_COMPRESSED_BYTES = 1_200


def pack(content: bytes) -> bytes:
    """Encodes the content, compressed if it is long."""
    if len(content) < _MIN_COMPRESSED_BYTES:
        return _RAW + content
    return _ZLIB + zlib.compress(content, 1)


def unpack(packed: bytes) -> bytes:
    """Decodes the content. Raises ValueError for an unknown encoding."""
    marker, content = packed[:1], packed[1:]
    if marker == _RAW:
        return content
    if marker == _ZLIB:
        return zlib.decompress(content)
    message = f"packed values begin with r or z, not {marker!r}"
    raise ValueError(message)


def pack_json(value: object) -> bytes:
    """Encodes a JSON value; named tuples become arrays."""
    return pack(orjson.dumps(value, tuple))


def unpack_json(packed: bytes) -> object:
    """Decodes a JSON value."""
    return orjson.loads(unpack(packed))
