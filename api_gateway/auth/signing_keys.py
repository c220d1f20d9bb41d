"""Keys that sign tokens of our own issuer; they are never stored in the database.

They are in `ENROLL_SIGNING_KEY`, or in a file of lines `KEY` or `KEY until TIME`. The first key
signs; the others were replaced, and verify until their time.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import structlog

from api_gateway.auth.jwt_keys import UnknownKey
from api_gateway.auth.watched_file import WatchedFile
from enrollment.runtime.private_files import write_private_file
from enrollment.runtime.settings import Settings, SettingsError

#: Name of the file in the data folder.
SIGNING_KEY_FILE = "signing.key"
MIN_KEY_BYTES = 32
_UNTIL = " until "

log = structlog.get_logger(__name__)


class SigningKey(NamedTuple):
    """A key with its id; one that was replaced verifies until `ends_at` (seconds since 1970)."""

    kid: str
    secret: bytes
    ends_at: float | None = None

    @classmethod
    def of(cls, secret: bytes, ends_at: float | None = None) -> "SigningKey":
        """Returns the key with its id, which is a part of its hash."""
        return cls(hashlib.sha256(b"kid:" + secret).hexdigest()[:16], secret, ends_at)


def new_signing_key() -> SigningKey:
    """Generates a key of 384 random bits."""
    return SigningKey.of(secrets.token_urlsafe(48).encode())


def parse_signing_keys(text: str) -> list[SigningKey]:
    """Parses the lines of a key file; the first key signs. Raises ValueError without the key."""
    lines = (line.strip() for line in text.splitlines())
    keys = [_parse_line(line) for line in lines if line and not line.startswith("#")]
    if not keys or keys[0].ends_at is not None:
        message = "it has no key that is in use"
        raise ValueError(message)
    return keys


def _parse_line(line: str) -> SigningKey:
    key, _, until = line.partition(_UNTIL)
    secret = key.strip().encode()
    if len(secret) < MIN_KEY_BYTES or b" " in secret:
        message = f"a key must have {MIN_KEY_BYTES} bytes or more, without blanks"
        raise ValueError(message)
    ends_at = datetime.fromisoformat(until.strip()).timestamp() if until else None
    return SigningKey.of(secret, ends_at)


def signing_key_path(settings: Settings) -> Path:
    """Returns the file of the keys, if they are not in the settings."""
    return settings.signing_key_file or settings.data_dir / SIGNING_KEY_FILE


def rotate_signing_key(
    path: Path, *, now: float, keep_seconds: float, new: SigningKey | None = None
) -> tuple[SigningKey, SigningKey | None]:
    """Writes a new key to a file; the one in use verifies for `keep_seconds` more.

    Returns the new key (`new`, or one that is generated) and the one that it replaces, if there was
    one. Raises OSError, and ValueError for a file that is no key file.
    """
    known = parse_signing_keys(path.read_text()) if path.exists() else []
    new = new or new_signing_key()
    previous = [
        key._replace(ends_at=min(key.ends_at or now + keep_seconds, now + keep_seconds))
        for key in known
    ]
    kept = [key for key in previous if (key.ends_at or 0) > now]
    write_private_file(path, "".join(map(format_key_line, (new, *kept))))
    return new, previous[0] if previous else None


def format_key_line(key: SigningKey) -> str:
    """Returns the line of a key in its file."""
    if key.ends_at is None:
        return f"{key.secret.decode()}\n"
    ends = datetime.fromtimestamp(key.ends_at, UTC).isoformat(timespec="seconds")
    return f"{key.secret.decode()}{_UNTIL}{ends}\n"


class SigningKeys:
    """The keys of our own issuer; a file is read again when it has changed."""

    may_block = False

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        """Raises SettingsError for keys that cannot be used, or a named file that is missing."""
        self._clock = clock
        self._keys: Sequence[SigningKey] = ()
        self._file: WatchedFile | None = None
        if settings.signing_key is not None:
            self._keys = _from_setting(settings.signing_key)
            return
        self._file = WatchedFile(signing_key_path(settings), clock)
        try:
            self._read(self._file)
        except FileNotFoundError as error:
            if settings.signing_key_file is not None:
                message = f"ENROLL_SIGNING_KEY_FILE: {settings.signing_key_file} does not exist"
                raise SettingsError(message) from error
        except (OSError, ValueError) as error:
            message = f"the signing key in {self._file.path} cannot be used ({error})"
            raise SettingsError(message) from error

    def current(self) -> SigningKey | None:
        """Returns the key that signs; None without one."""
        self._refresh(at_once=True)
        return self._keys[0] if self._keys else None

    def find(self, kid: str | None) -> bytes:
        """Returns the secret that verifies tokens with this key id. Raises UnknownKey."""
        self._refresh(at_once=False)
        found = self._find(kid)
        if found is None:
            self._refresh(at_once=True)
            found = self._find(kid)
        if found is None:
            message = "no signing key of ours has that id"
            raise UnknownKey(message)
        return found

    def _find(self, kid: str | None) -> bytes | None:
        for key in self._keys:
            if key.kid == kid and (key.ends_at is None or self._clock() < key.ends_at):
                return key.secret
        return None

    def _refresh(self, *, at_once: bool) -> None:
        """Reads a changed file again; keeps the keys where that fails, unless it is gone."""
        if self._file is None or not self._file.has_changed(at_once=at_once):
            return
        try:
            self._read(self._file)
        except FileNotFoundError:
            self._keys = ()
        except (OSError, ValueError) as error:
            log.warning("signing_key.unreadable", because=str(error))

    def _read(self, file: WatchedFile) -> None:
        content = file.read()
        try:
            self._keys = parse_signing_keys(content.decode())
        except ValueError:
            file.forget()
            raise


def _from_setting(value: str) -> list[SigningKey]:
    """Parses the keys in ENROLL_SIGNING_KEY, separated by commas. Raises SettingsError."""
    try:
        return parse_signing_keys("\n".join(value.split(",")))
    except ValueError as error:
        message = f"ENROLL_SIGNING_KEY: {error}"
        raise SettingsError(message) from error
