"""Credentials as values: API keys and their hashes, tokens signed and tokens verified."""

import base64
import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, NoReturn

import jwt

from api_gateway.token_keys import Keys, OneKey, UnknownKey, outside_keys
from enrollment.settings import Settings, SettingsError
from schemas.fields import parse_email, parse_username

#: What an API key may be allowed; ``admin`` includes the others.
SCOPES = ("enroll", "read", "courses", "admin")
#: Our keys begin with this, so that people and secret scanners know one when they see it.
KEY_PREFIX = "enr_"
_KEY = re.compile(r"enr_[A-Za-z0-9_-]{43}")

OWN_ISSUER = "enroll"
OWN_AUDIENCE = "enroll"
OWN_ALGORITHM = "HS256"
#: Under this name the records keep the secret that our own tokens are signed with.
SIGNING_SECRET = "token-signing"  # noqa: S105 (a name, not a secret)

MAX_TOKEN = 8_192
MAX_LIFETIME = timedelta(hours=24)
#: Seconds by which two machines' clocks may differ.
LEEWAY = 5.0
MAX_MOMENT = 1e12
MAX_KID = 200

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
#: Access tokens say one of these, or nothing; whatever says else is for something else.
_TYPES = frozenset({"jwt", "at+jwt"})
_REQUIRED = ("exp", "iat", "iss", "aud")


class Claims(NamedTuple):
    """What a verified token says about its bearer."""

    username: str
    email: str | None
    is_staff: bool
    #: How long it was still valid when it was verified.
    seconds_left: float


class TokenRefused(Exception):
    """A token is not believed; ``code`` is the word that Open edX clients know for why."""

    def __init__(self, reason: str, *, code: str = "token_nonexistent") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Issuer(NamedTuple):
    """Who may sign tokens, with what, and for whom."""

    name: str
    audience: str
    algorithm: str
    keys: Keys


def new_api_key() -> tuple[str, bytes]:
    """A new key of 256 random bits, and the hash by which it is known from now on."""
    text = KEY_PREFIX + secrets.token_urlsafe(32)
    return text, digest_of(text)


def new_signing_secret() -> bytes:
    """A secret for signing tokens of our own."""
    return secrets.token_bytes(32)


def digest_of(text: str) -> bytes:
    """The hash of a key; a fast one is right, because the keys are random."""
    return hashlib.sha256(text.encode()).digest()


def looks_like_api_key(text: str) -> bool:
    """Whether the text has the form of our keys; anything else need not be looked up."""
    return _KEY.fullmatch(text) is not None


def sign(
    secret: bytes,
    username: str,
    *,
    email: str | None = None,
    staff: bool = False,
    minutes: float = 60,
    now: datetime,
) -> str:
    """A token of our own for a person. Raises ValueError for one that would not be believed."""
    if parse_username(username) is None or (email is not None and parse_email(email) is None):
        message = "a token names a username and perhaps an e-mail address"
        raise ValueError(message)
    if not 0 < minutes <= MAX_LIFETIME.total_seconds() / 60:
        message = f"a token lives for up to {MAX_LIFETIME.total_seconds() / 60:g} minutes"
        raise ValueError(message)
    issued = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": OWN_ISSUER,
        "aud": OWN_AUDIENCE,
        "iat": issued,
        "exp": issued + round(minutes * 60),
        "sub": username,
        "preferred_username": username,
        "administrator": staff,
    }
    if email is not None:
        claims["email"] = email
    return jwt.encode(claims, secret, algorithm=OWN_ALGORITHM)


class TokenVerifier:
    """Believes tokens of our own and of one outside issuer, each by its own key alone.

    The token's unverified ``iss`` chooses between the two and nothing else; algorithm,
    audience and key come from the settings.
    """

    def __init__(
        self,
        settings: Settings,
        own_secret: bytes | Callable[[], bytes],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._jwt = jwt.PyJWT({"require": list(_REQUIRED), "enforce_minimum_key_length": True})
        own = OneKey((lambda: own_secret) if isinstance(own_secret, bytes) else own_secret)
        self._issuers = {OWN_ISSUER: Issuer(OWN_ISSUER, OWN_AUDIENCE, OWN_ALGORITHM, own)}
        outside = _outside_issuer(settings, clock)
        if outside is not None:
            self._issuers[outside.name] = outside
        #: Whether verifying may wait for the network (then it belongs in a thread).
        self.may_block = any(issuer.keys.may_block for issuer in self._issuers.values())

    def verify(self, token: str) -> Claims:
        """What the token says, if it is to be believed. Raises TokenRefused, KeysUnavailable."""
        header, unverified = _read(token)
        named = unverified.get("iss")
        issuer = self._issuers.get(named) if isinstance(named, str) else None
        if issuer is None:
            message = "The token's issuer is not known here."
            raise TokenRefused(message)
        return self._claims(self._decode(token, issuer, _kid(header)))

    def _decode(self, token: str, issuer: Issuer, kid: str | None) -> dict[str, Any]:
        try:
            return self._jwt.decode(
                token,
                issuer.keys.find(kid),
                algorithms=[issuer.algorithm],
                audience=issuer.audience,
                issuer=issuer.name,
                # Times are judged below, by the clock that was handed in.
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.InvalidAudienceError as error:
            message = "The token is not for this service (aud)."
            raise TokenRefused(message) from error
        except jwt.MissingRequiredClaimError as error:
            message = f"The token lacks the claim {error.claim}."
            raise TokenRefused(message, code="token_malformed") from error
        except (jwt.PyJWTError, UnknownKey) as error:
            message = "The token's signature is not valid here."
            raise TokenRefused(message) from error

    def _claims(self, claims: Mapping[str, Any]) -> Claims:
        return Claims(
            username=_username(claims),
            email=_email(claims),
            is_staff=claims.get("administrator") is True,
            seconds_left=self._seconds_left(claims),
        )

    def _seconds_left(self, claims: Mapping[str, Any]) -> float:
        now = self._clock()
        expires, issued = _moment(claims, "exp"), _moment(claims, "iat")
        if expires <= now:
            message = "The token has expired."
            raise TokenRefused(message, code="token_expired")
        begins = _moment(claims, "nbf") if "nbf" in claims else issued
        if max(issued, begins) > now + LEEWAY:
            message = "The token is not valid yet."
            raise TokenRefused(message)
        if expires - issued > MAX_LIFETIME.total_seconds():
            message = "The token lives for too long; tokens of up to 24 hours are taken."
            raise TokenRefused(message)
        return expires - now


def _outside_issuer(settings: Settings, clock: Callable[[], float]) -> Issuer | None:
    found = outside_keys(settings, clock)
    if found is None or settings.jwt_issuer is None or settings.jwt_audience is None:
        return None
    if settings.jwt_issuer == OWN_ISSUER:
        message = f"ENROLL_JWT_ISSUER cannot be {OWN_ISSUER!r}: that is who signs our own tokens"
        raise SettingsError(message)
    keys, algorithm = found
    return Issuer(settings.jwt_issuer, settings.jwt_audience, algorithm, keys)


def _read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims before anything is believed, read more strictly than PyJWT reads."""
    parts = _COMPACT.fullmatch(token) if len(token) <= MAX_TOKEN else None
    if parts is None:
        _malformed()
    header, claims = _object(parts[1]), _object(parts[2])
    kind = header.get("typ", "JWT")
    # No extension of the header is understood here, so one that must be is refused.
    if "crit" in header or "b64" in header or str(kind).lower() not in _TYPES:
        _malformed()
    return header, claims


def _object(segment: str) -> dict[str, Any]:
    try:
        text = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        value = json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        _malformed(error)
    if not isinstance(value, dict):
        _malformed()
    return value


def _malformed(cause: Exception | None = None) -> NoReturn:
    message = "The token cannot be read."
    raise TokenRefused(message, code="token_malformed") from cause


def _once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        message = "a member stands twice"
        raise ValueError(message)
    return members


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _kid(header: Mapping[str, Any]) -> str | None:
    kid = header.get("kid")
    if kid is not None and (not isinstance(kid, str) or len(kid) > MAX_KID):
        _malformed()
    return kid


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        _malformed()
    if not 0 <= value <= MAX_MOMENT:  # neither NaN nor an integer too large for a float passes
        _malformed()
    return value


def _username(claims: Mapping[str, Any]) -> str:
    name = claims.get("preferred_username")
    if name is None:
        name = claims.get("sub")
    if not isinstance(name, str) or parse_username(name) is None:
        message = "The token must name its bearer (preferred_username, or else sub) by a username."
        raise TokenRefused(message, code="token_malformed")
    return name


def _email(claims: Mapping[str, Any]) -> str | None:
    """The bearer's address; one that the issuer itself doubts opens no invitation."""
    email = claims.get("email") or None
    if email is None or claims.get("email_verified") is False:
        return None
    address = parse_email(email) if isinstance(email, str) else None
    if address is None:
        _malformed()
    return address
