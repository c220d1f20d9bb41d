"""API keys: format, scopes, hash for storage."""

import hashlib
import re
import secrets

#: Scopes that an API key may have; `admin` includes all others.
SCOPES = ("enroll", "read", "courses", "admin")
#: Prefix of our keys, so that people and secret scanners recognize them.
KEY_PREFIX = "enr_"
_KEY = re.compile(r"enr_[A-Za-z0-9_-]{43}")


def new_api_key() -> tuple[str, bytes]:
    """Generates a key of 256 random bits; returns it with its hash."""
    text = KEY_PREFIX + secrets.token_urlsafe(32)
    return text, digest_of(text)


def digest_of(text: str) -> bytes:
    """Hashes a key. A fast hash is enough, because keys are random."""
    return hashlib.sha256(text.encode()).digest()


def looks_like_api_key(text: str) -> bool:
    """Whether the text has the format of our keys; other texts need no lookup."""
    return _KEY.fullmatch(text) is not None
