"""Keys that verify tokens of an external issuer: a secret, a PEM file or a JWKS.

Only the settings determine the source of keys; nothing in a token is used as a path or a URL.
PyJWT's own client is used to fetch only: it locks during a fetch, drops keys without id, uses a
stale set for an unlimited time, and reads no files.
"""

import json
import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import jwt
import structlog

from api_gateway.auth.watched_file import WatchedFile
from enrollment.runtime.settings import Settings, SettingsError

#: Seconds after which a key set is read again.
JWKS_LIFETIME_SECONDS = 300.0
#: Minimum seconds between two reads, so that unknown key ids cannot flood the issuer.
REFRESH_INTERVAL_SECONDS = 10.0
#: Seconds for which a key set is used while the issuer is unreachable.
MAX_STALE_SECONDS = 3600.0
FETCH_TIMEOUT_SECONDS = 3.0

_SHARED_SECRET = frozenset({"HS256", "HS384", "HS512"})
_PUBLIC_KEY = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)

log = structlog.get_logger(__name__)


class UnknownKey(Exception):
    """The issuer has no key with this id."""


class KeysUnavailable(Exception):
    """The issuer's keys cannot be read, so its tokens cannot be verified."""


class IssuerKeys(Protocol):
    """The keys of an issuer."""

    @property
    def may_block(self) -> bool:
        """Whether `find` may wait for the network."""

    def find(self, kid: str | None) -> Any:
        """Returns the key with this id. Raises UnknownKey, KeysUnavailable."""


class StaticKey:
    """The only key of an issuer, for every key id; `key` is called for each lookup."""

    may_block = False

    def __init__(self, key: Callable[[], object]) -> None:
        self._key = key

    def find(self, kid: str | None) -> Any:
        """Returns the key."""
        return self._key()


class KeySet:
    """A JWKS, read again every `JWKS_LIFETIME_SECONDS`, and a file also when it has changed.

    If that fails the last one is used for `MAX_STALE_SECONDS`.
    """

    def __init__(
        self,
        load: Callable[[], object],
        *,
        algorithm: str,
        clock: Callable[[], float],
        may_block: bool = False,
        file: WatchedFile | None = None,
    ) -> None:
        """`file` is what `load` reads, if it reads a file."""
        self.may_block = may_block
        self._file = file
        self._load = load
        self._algorithm = algorithm
        self._clock = clock
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._loaded_at = -math.inf
        self._attempted_at = -math.inf
        self._refreshing = threading.Lock()

    def find(self, kid: str | None) -> jwt.PyJWK:
        """Returns the key with this id; without an id, the only key of a set of one.

        Raises UnknownKey, KeysUnavailable.
        """
        now = self._clock()
        has_changed = self._file is not None and self._file.has_changed()
        if has_changed:
            self._attempted_at = -math.inf
        if has_changed or self._pick(kid) is None or self._is_old(now):
            self._refresh(now)
        if now - self._loaded_at > MAX_STALE_SECONDS:
            message = "the issuer's keys cannot be read"
            raise KeysUnavailable(message)
        key = self._pick(kid)
        if key is None:
            message = "the issuer has no key with that id"
            raise UnknownKey(message)
        return key

    def _is_old(self, now: float) -> bool:
        return now - self._loaded_at >= JWKS_LIFETIME_SECONDS

    def load(self) -> int:
        """Reads the set; returns the number of its keys. Raises PyJWTError, OSError, ValueError."""
        try:
            self._keys = usable_keys(self._load(), self._algorithm)
        except ValueError:
            if self._file is not None:
                self._file.forget()
            raise
        self._loaded_at = self._clock()
        return len(self._keys)

    def _pick(self, kid: str | None) -> jwt.PyJWK | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    def _refresh(self, now: float) -> None:
        """Reads the set again, unless the last attempt is younger than `REFRESH_INTERVAL_SECONDS`.

        While another thread reads it, threads that have keys use those.
        """
        if not self._refreshing.acquire(blocking=not self._keys):
            return
        try:
            if now - self._attempted_at >= REFRESH_INTERVAL_SECONDS:
                self._attempted_at = now
                self.load()
        except (jwt.PyJWTError, OSError, ValueError):
            log.warning("issuer_keys.unreadable", exc_info=True)
        finally:
            self._refreshing.release()


def usable_keys(document: object, algorithm: str) -> dict[str | None, jwt.PyJWK]:
    """Returns the public signing keys of a JWKS that fit the algorithm, by id.

    Ignores shared and private keys, which must not be published; there may be none left, when
    the issuer has taken its keys back. Raises ValueError for a document that is no JWKS.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        message = "it is not a JWKS"
        raise ValueError(message)  # noqa: TRY004 (a bad document, not a bad argument)
    keys: dict[str | None, jwt.PyJWK] = {}
    for data in listed:
        key = _usable_key(data, algorithm)
        if key is not None:
            keys.setdefault(key.key_id, key)
    return keys


def _usable_key(data: object, algorithm: str) -> jwt.PyJWK | None:
    """Parses one member of `keys`; None if it cannot be used."""
    if not isinstance(data, dict) or data.get("kty") == "oct" or "d" in data:
        return None
    if data.get("use", "sig") != "sig" or data.get("alg", algorithm) != algorithm:
        return None
    if not isinstance(data.get("kid"), str | None):
        return None
    try:
        return jwt.PyJWK(data, algorithm)
    except (jwt.PyJWTError, LookupError):
        log.warning("issuer_keys.key_unusable", kid=data.get("kid"), exc_info=True)
        return None


def external_keys(settings: Settings, clock: Callable[[], float]) -> tuple[IssuerKeys, str] | None:
    """Returns the external issuer's keys and its algorithm; None if none is configured.

    Raises SettingsError if the configured keys cannot be used.
    """
    if settings.jwt_secret is not None:
        algorithm = _algorithm(settings.jwt_algorithm or "HS256", _SHARED_SECRET)
        secret = _prepare("ENROLL_JWT_SECRET", settings.jwt_secret.encode(), algorithm)
        return StaticKey(lambda: secret), algorithm
    algorithm = settings.jwt_algorithm or "RS256"
    if settings.jwt_public_key is not None:
        name = "ENROLL_JWT_PUBLIC_KEY"
        pem = _read_file(name, settings.jwt_public_key)
        key = _prepare(name, pem, _algorithm(algorithm, _PUBLIC_KEY))
        return StaticKey(lambda: key), algorithm
    if settings.jwt_jwks is not None:
        return _key_set(settings.jwt_jwks, _algorithm(algorithm, _PUBLIC_KEY), clock), algorithm
    return None


def _algorithm(name: str, accepted: frozenset[str]) -> str:
    """Returns the algorithm. Raises SettingsError if the kind of key does not support it."""
    if name not in accepted:
        choices = ", ".join(sorted(accepted))
        message = f"ENROLL_JWT_ALGORITHM must be one of {choices} with this key, not {name!r}"
        raise SettingsError(message)
    return name


def _read_file(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{name}: {path} cannot be read ({error.strerror})"
        raise SettingsError(message) from error


def _prepare(name: str, key: bytes, algorithm: str) -> object:
    """Parses and checks the key in the setting `name`. Raises SettingsError."""
    try:
        implementation = jwt.get_algorithm_by_name(algorithm)
        prepared: Any = implementation.prepare_key(key)
        weakness = implementation.check_key_length(prepared)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        message = f"{name} is not a key for {algorithm}"
        raise SettingsError(message) from error
    if hasattr(prepared, "private_bytes"):
        message = f"{name} must be the public key, not the private one"
        raise SettingsError(message)
    if weakness:
        message = f"{name} is too short for {algorithm}: {weakness}"
        raise SettingsError(message)
    return prepared


def _key_set(source: str, algorithm: str, clock: Callable[[], float]) -> KeySet:
    """Returns the key set at a path or an https URL; reads a file now. Raises SettingsError."""
    if source.startswith("https://"):
        client = jwt.PyJWKClient(source, cache_jwk_set=False, timeout=FETCH_TIMEOUT_SECONDS)
        return KeySet(client.fetch_data, algorithm=algorithm, clock=clock, may_block=True)
    if "://" in source:
        message = "ENROLL_JWT_JWKS must be a file or an https URL"
        raise SettingsError(message)
    file = WatchedFile(Path(source), clock)
    keys = KeySet(lambda: json.loads(file.read()), algorithm=algorithm, clock=clock, file=file)
    try:
        if keys.load():
            return keys
    except (OSError, ValueError) as error:
        message = f"ENROLL_JWT_JWKS: {source} cannot be used ({error})"
        raise SettingsError(message) from error
    message = f"ENROLL_JWT_JWKS: {source} contains no public key for {algorithm}"
    raise SettingsError(message)
