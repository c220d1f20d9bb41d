"""Identifiers: UUIDv7 (RFC 9562), which sort by the time of creation."""

import secrets
from datetime import datetime
from uuid import UUID

_MILLISECONDS = 1000
_RANDOM_BYTES = 10


def uuid7(now: datetime) -> UUID:
    """Returns a new UUIDv7: 48 bits of milliseconds since 1970, then 74 random bits."""
    return uuid7s(now, 1)[0]


def uuid7s(now: datetime, number: int) -> list[UUID]:
    """Returns several new UUIDv7s; reads random bytes from the system once."""
    timestamp = int(now.timestamp() * _MILLISECONDS) << 16 | 0x7000
    data = secrets.token_bytes(_RANDOM_BYTES * number)
    return [
        _build(timestamp, int.from_bytes(data[start : start + _RANDOM_BYTES]))
        for start in range(0, len(data), _RANDOM_BYTES)
    ]


def _build(timestamp: int, random_bits: int) -> UUID:
    high = timestamp | (random_bits >> 62 & 0xFFF)
    low = (0b10 << 62) | (random_bits & ((1 << 62) - 1))
    return UUID(int=(high << 64) | low)
