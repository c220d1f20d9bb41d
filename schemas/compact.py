"""Compact values: JSON or text, squeezed where that pays; the first byte says how."""

import zlib

import orjson

_RAW, _ZLIB = b"r", b"z"
#: Smaller values are kept as they are: squeezing costs more than it saves.
_WORTH_IT_BYTES = 1_200


def pack(content: bytes) -> bytes:
    """The content, squeezed if it is long."""
    if len(content) < _WORTH_IT_BYTES:
        return _RAW + content
    return _ZLIB + zlib.compress(content, 1)


def unpack(packed: bytes) -> bytes:
    """What was packed. Raises ValueError for anything else."""
    marker, content = packed[:1], packed[1:]
    if marker == _RAW:
        return content
    if marker == _ZLIB:
        return zlib.decompress(content)
    message = f"packed values begin with r or z, not {marker!r}"
    raise ValueError(message)


def pack_json(value: object) -> bytes:
    """A JSON value, packed; named tuples count as arrays."""
    return pack(orjson.dumps(value, tuple))


def unpack_json(packed: bytes) -> object:
    """The JSON value that was packed."""
    return orjson.loads(unpack(packed))
