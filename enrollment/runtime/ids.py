"""Identifiers: UUIDv7 (RFC 9562), which sort by the time they were made."""

import secrets
from datetime import datetime
from uuid import UUID

_MILLISECONDS = 1000
_NOISE_BYTES = 10


def uuid7(now: datetime) -> UUID:
    """A fresh UUIDv7: 48 bits of milliseconds since 1970, then 74 random bits."""
    return uuid7s(now, 1)[0]


def uuid7s(now: datetime, number: int) -> list[UUID]:
    """Some at once: the system is asked for randomness once."""
    stamp = int(now.timestamp() * _MILLISECONDS) << 16 | 0x7000
    noise = secrets.token_bytes(_NOISE_BYTES * number)
    return [
        _build(stamp, int.from_bytes(noise[at : at + _NOISE_BYTES]))
        for at in range(0, len(noise), _NOISE_BYTES)
    ]


def _build(stamp: int, noise: int) -> UUID:
    high = stamp | (noise >> 62 & 0xFFF)
    low = (0b10 << 62) | (noise & ((1 << 62) - 1))
    return UUID(int=(high << 64) | low)
