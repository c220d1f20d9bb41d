"""Keys that verify tokens of an external issuer: a secret, a PEM file or a JWKS.

The settings alone say where keys come from; nothing in a token is used as a path or a URL.
PyJWT's own client is used to fetch only: it locks during a fetch, drops keys without id, has
no limit to how long it believes a stale set, and reads no files.
"""

import json
import math
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import jwt
import structlog

from enrollment.runtime.settings import Settings, SettingsError

#: Seconds after which a key set is read again.
JWKS_LIFETIME = 300.0
#: Minimum seconds between two reads, so that invented key ids cannot flood the issuer.
REFRESH_INTERVAL = 10.0
#: Seconds for which a key set is used while the issuer is unreachable.
STALE_LIMIT = 3600.0
FETCH_TIMEOUT = 3.0

_SHARED_SECRET = frozenset({"HS256", "HS384", "HS512"})
_PUBLIC_KEY = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)

log = structlog.get_logger(__name__)


class UnknownKey(Exception):
    """The issuer has no key with this id."""


class KeysUnavailable(Exception):
    """The issuer's keys cannot be read, so its tokens cannot be verified."""


class Keys(Protocol):
    """The keys of an issuer."""

    @property
    def may_block(self) -> bool:
        """Whether `find` may wait for the network."""

    def find(self, kid: str | None) -> Any:
        """Return the key with this id. Raises UnknownKey, KeysUnavailable."""


class StaticKey:
    """The only key of an issuer, whatever id a token names; read when it is needed."""

    may_block = False

    def __init__(self, key: Callable[[], object]) -> None:
        self._key = key

    def find(self, kid: str | None) -> Any:
        """Return the key."""
        return self._key()


class KeySet:
    """A JWKS, read again every `JWKS_LIFETIME`; if that fails the last one is used for an hour."""

    def __init__(
        self,
        load: Callable[[], object],
        *,
        algorithm: str,
        clock: Callable[[], float],
        may_block: bool = False,
    ) -> None:
        self.may_block = may_block
        self._load = load
        self._algorithm = algorithm
        self._clock = clock
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._loaded_at = -math.inf
        self._tried_at = -math.inf
        self._refreshing = threading.Lock()

    def find(self, kid: str | None) -> jwt.PyJWK:
        """Return the key with this id; without an id, the only key of a set of one."""
        now = self._clock()
        if self._pick(kid) is None or now - self._loaded_at >= JWKS_LIFETIME:
            self._refresh(now)
        if now - self._loaded_at > STALE_LIMIT:
            message = "the issuer's keys cannot be read"
            raise KeysUnavailable(message)
        key = self._pick(kid)
        if key is None:
            message = "the issuer has no key with that id"
            raise UnknownKey(message)
        return key

    def load(self) -> None:
        """Read the set. Raises PyJWTError, OSError, ValueError."""
        self._keys = usable_keys(self._load(), self._algorithm)
        self._loaded_at = self._clock()

    def _pick(self, kid: str | None) -> jwt.PyJWK | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    def _refresh(self, now: float) -> None:
        """Read the set again, unless that was tried just now.

        While another thread reads it, threads that have keys go on with those.
        """
        if not self._refreshing.acquire(blocking=not self._keys):
            return
        try:
            if now - self._tried_at >= REFRESH_INTERVAL:
                self._tried_at = now
                self.load()
        except (jwt.PyJWTError, OSError, ValueError):
            log.warning("issuer_keys.unreadable", exc_info=True)
        finally:
            self._refreshing.release()


def usable_keys(document: object, algorithm: str) -> dict[str | None, jwt.PyJWK]:
    """Return the public signing keys of a JWKS that fit the algorithm, by their ids.

    Raises ValueError if there is none. Shared and private keys must not be published, so they
    are ignored.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    keys: dict[str | None, jwt.PyJWK] = {}
    for data in listed if isinstance(listed, list) else ():
        key = _usable_key(data, algorithm)
        if key is not None:
            keys.setdefault(key.key_id, key)
    if not keys:
        message = f"the JWKS holds no public key for {algorithm}"
        raise ValueError(message)
    return keys


def _usable_key(data: object, algorithm: str) -> jwt.PyJWK | None:
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


def external_keys(settings: Settings, clock: Callable[[], float]) -> tuple[Keys, str] | None:
    """Return the external issuer's keys and its algorithm, None if none is configured.

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


def _algorithm(name: str, known: frozenset[str]) -> str:
    if name not in known:
        choices = ", ".join(sorted(known))
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
    try:
        maker = jwt.get_algorithm_by_name(algorithm)
        prepared: Any = maker.prepare_key(key)
        weakness = maker.check_key_length(prepared)
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


def _key_set(place: str, algorithm: str, clock: Callable[[], float]) -> KeySet:
    if place.startswith("https://"):
        client = jwt.PyJWKClient(place, cache_jwk_set=False, timeout=FETCH_TIMEOUT)
        return KeySet(client.fetch_data, algorithm=algorithm, clock=clock, may_block=True)
    if "://" in place:
        message = "ENROLL_JWT_JWKS must be a file or an https URL"
        raise SettingsError(message)
    keys = KeySet(partial(_json_file, Path(place)), algorithm=algorithm, clock=clock)
    try:
        keys.load()
    except (OSError, ValueError) as error:
        message = f"ENROLL_JWT_JWKS: {place} cannot be used ({error})"
        raise SettingsError(message) from error
    return keys


def _json_file(path: Path) -> object:
    return json.loads(path.read_bytes())
