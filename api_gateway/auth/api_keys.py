"""API keys: format, scopes, names, hash for storage, creation."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from enrollment.storage.credentials import api_keys
from enrollment.storage.credentials.api_keys import ApiKey

#: Scopes that an API key may have; `admin` includes all others.
SCOPES = ("enroll", "read", "courses", "admin")
#: Prefix of our keys, so that people and secret scanners recognize them.
KEY_PREFIX = "enr_"
_KEY = re.compile(r"enr_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[a-z0-9._-]{1,64}")
#: Name of the caller with the fixed key of ENROLL_EDX_API_KEY.
EDX_KEY_NAME = "edx"


class KeyNameRefused(ValueError):
    """A key of that name cannot be created; the message says what to do."""


class NewApiKey(NamedTuple):
    """A key that was created, and its text, which is stored nowhere."""

    key: ApiKey
    text: str
    #: Whether there was a key of that name.
    is_rotation: bool

    @property
    def log_event(self) -> str:
        """The name of the log event of its creation."""
        return "key.rotated" if self.is_rotation else "key.created"


def new_api_key() -> tuple[str, bytes]:
    """Generates a key of 256 random bits; returns it with its hash."""
    text = KEY_PREFIX + secrets.token_urlsafe(32)
    return text, digest_of(text)


def creation_fields(key: ApiKey) -> dict[str, object]:
    """Returns what the log says of a key that was created: nothing that helps to guess it."""
    expires_at = None if key.expires_at is None else key.expires_at.isoformat()
    scopes = sorted(key.scopes)
    return {"key_id": key.id, "name": key.name, "scopes": scopes, "expires_at": expires_at}


def create_key(
    session: Session,
    name: str,
    scopes: frozenset[str],
    *,
    rotate: bool,
    expires_at: datetime | None,
    now: datetime,
) -> NewApiKey:
    """Creates a key. Makes others who create keys wait. Raises KeyNameRefused."""
    api_keys.lock_names(session)
    same_name = api_keys.find_by_name(session, name)
    check_key_name(name, same_name, scopes, rotate=rotate, now=now)
    text, digest = new_api_key()
    number = api_keys.add(
        session, name=name, scopes=scopes, digest=digest, now=now, expires_at=expires_at
    )
    key = ApiKey(number, name, scopes, now, expires_at=expires_at)
    return NewApiKey(key, text, is_rotation=bool(same_name))


def digest_of(text: str) -> bytes:
    """Hashes a key. A fast hash is enough, because keys are random."""
    return hashlib.sha256(text.encode()).digest()


def looks_like_api_key(text: str) -> bool:
    """Whether the text has the format of our keys; other texts need no lookup."""
    return _KEY.fullmatch(text) is not None


def check_key_name(
    name: str,
    same_name: Sequence[ApiKey],
    scopes: frozenset[str],
    *,
    rotate: bool,
    now: datetime,
) -> None:
    """Checks that a key may get this name; `same_name` are all keys that ever had it.

    A name is a caller, who owns submissions and Idempotency-Keys. So it keeps its scopes, two
    servers cannot take one name by mistake, and a name that was revoked is never given again.
    Raises KeyNameRefused.
    """
    _check_new_name(name, is_new=not same_name)
    kept = [key for key in same_name if key.revoked_at is None]
    if same_name and not kept:
        message = (
            f"The key named {name} was revoked, and a name is never given again: its submissions "
            "would be the new key's. Choose another name."
        )
        raise KeyNameRefused(message)
    if kept and not rotate:
        state = "is in use" if any(key.is_live(now) for key in kept) else "has expired"
        message = (
            f"A key named {name} {state}, and keys with the same name are one caller: choose "
            "another name, or rotate it (`--rotate`) to create its successor."
        )
        raise KeyNameRefused(message)
    if kept and scopes not in {key.scopes for key in kept}:
        has = "; ".join(", ".join(sorted(key.scopes)) for key in kept)
        message = f"The key {name} in use has the scopes: {has}. Its successor must have the same."
        raise KeyNameRefused(message)


def _check_new_name(name: str, *, is_new: bool) -> None:
    """Checks a name's form, unless an earlier release gave it. Raises KeyNameRefused."""
    if name == EDX_KEY_NAME:
        message = f"{EDX_KEY_NAME} is the name of the fixed key of ENROLL_EDX_API_KEY."
        raise KeyNameRefused(message)
    if is_new and not _NAME.fullmatch(name):
        message = (
            f"{name!r} cannot be the name of a key: it must be 1 to 64 characters, of the letters "
            "a to z, digits, dots, hyphens and underscores."
        )
        raise KeyNameRefused(message)
