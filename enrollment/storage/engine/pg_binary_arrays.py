"""Encodes arrays of numbers in PostgreSQL's binary format (`array_send`).

Formatting numbers as text and parsing them takes client and server several times as long.
"""

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from sqlalchemy import BigInteger, Boolean, Integer
from sqlalchemy.types import TypeEngine, UserDefinedType


class _Element(NamedTuple):
    """An element type: its code in `struct`, its size in bytes, and the OIDs in PostgreSQL."""

    code: str
    size: int
    oid: int
    array_oid: int


class BinaryArray(bytes):
    """An encoded array."""

    __slots__ = ()
    element: ClassVar[_Element]


class _BigIntegers(BinaryArray):
    element = _Element("q", 8, 20, 1016)


class _Integers(BinaryArray):
    element = _Element("i", 4, 23, 1007)


class _Booleans(BinaryArray):
    element = _Element("?", 1, 16, 1000)


class BinaryArrayType(UserDefinedType[BinaryArray]):
    """SQLAlchemy type of a `BinaryArray` parameter, which is sent unchanged."""

    cache_ok = True


_ARRAY_TYPES: Mapping[type[TypeEngine[Any]], type[BinaryArray]] = MappingProxyType(
    {BigInteger: _BigIntegers, Integer: _Integers, Boolean: _Booleans}
)
_NULL = struct.pack("!i", -1)
#: Values that are packed by one call, with a precompiled struct.
_CHUNK = 256
_CHUNK_STRUCTS = {
    kind.element.code: struct.Struct("!" + f"i{kind.element.code}" * _CHUNK)
    for kind in (_BigIntegers, _Integers, _Booleans)
}


def binary_array_type(kind: TypeEngine[Any]) -> type[BinaryArray] | None:
    """Returns the class that encodes arrays of a type; None: such arrays are sent as text."""
    return _ARRAY_TYPES.get(type(kind))


def encode_array(values: Sequence[Any], kind: type[BinaryArray]) -> BinaryArray:
    """Encodes values as an array. Raises struct.error for a number that is too large."""
    code, size, oid, _ = kind.element
    number = len(values)
    if not number:
        return kind(struct.pack("!3i", 0, 0, oid))
    has_null = None in values
    head = struct.pack("!5i", 1, has_null, oid, number, 1)
    if has_null:
        pack = struct.Struct(f"!i{code}").pack
        return kind(head + b"".join([_NULL if v is None else pack(size, v) for v in values]))
    cells = [size] * (2 * number)
    cells[1::2] = values
    whole = number - number % _CHUNK
    pack = _CHUNK_STRUCTS[code].pack
    parts = [pack(*cells[2 * n : 2 * (n + _CHUNK)]) for n in range(0, whole, _CHUNK)]
    rest = struct.pack("!" + f"i{code}" * (number - whole), *cells[2 * whole :])
    return kind(b"".join([head, *parts, rest]))


class _RawDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: BinaryArray) -> bytes:
        return obj


class _BigIntegersDumper(_RawDumper):
    oid = _BigIntegers.element.array_oid


class _IntegersDumper(_RawDumper):
    oid = _Integers.element.array_oid


class _BooleansDumper(_RawDumper):
    oid = _Booleans.element.array_oid


def adapt(connection: psycopg.Connection[Any]) -> None:
    """Registers the dumpers of binary arrays on a connection."""
    register = connection.adapters.register_dumper
    register(_BigIntegers, _BigIntegersDumper)
    register(_Integers, _IntegersDumper)
    register(_Booleans, _BooleansDumper)
