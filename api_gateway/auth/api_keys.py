"""API keys: their form, their scopes, the hash under which they are stored."""

import hashlib
import re
import secrets

#: Scopes that an API key may have; ``admin`` includes all others.
SCOPES = ("enroll", "read", "courses", "admin")
#: Prefix of our keys, by which people and secret scanners recognize them.
KEY_PREFIX = "enr_"
_KEY = re.compile(r"enr_[A-Za-z0-9_-]{43}")


def new_api_key() -> tuple[str, bytes]:
    """Make a key of 256 random bits; return it with its hash."""
    text = KEY_PREFIX + secrets.token_urlsafe(32)
    return text, digest_of(text)


def digest_of(text: str) -> bytes:
    """Hash a key. A fast hash is enough, because keys are random."""
    return hashlib.sha256(text.encode()).digest()


def looks_like_api_key(text: str) -> bool:
    """Whether the text has the form of our keys; anything else need not be looked up."""
    return _KEY.fullmatch(text) is not None
