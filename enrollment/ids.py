"""Identifiers: UUIDv7 (RFC 9562), which sort by the time they were made."""

import secrets
from datetime import datetime
from uuid import UUID

_MILLISECONDS = 1000


def uuid7(now: datetime) -> UUID:
    """A fresh UUIDv7: 48 bits of milliseconds since 1970, then 74 random bits."""
    stamp = int(now.timestamp() * _MILLISECONDS)
    noise = secrets.randbits(74)
    high = (stamp << 16) | 0x7000 | (noise >> 62)
    low = (0b10 << 62) | (noise & ((1 << 62) - 1))
    return UUID(int=(high << 64) | low)
