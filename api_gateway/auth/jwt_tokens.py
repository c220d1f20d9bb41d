"""JSON Web Tokens: signs our own, verifies our own and those of one external issuer."""

import base64
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, NoReturn

import jwt

from api_gateway.auth.jwt_keys import IssuerKeys, UnknownKey, external_keys
from api_gateway.auth.signing_keys import SigningKey
from enrollment.runtime.settings import Settings, SettingsError
from schemas.encoding.i_json import loads
from schemas.fields import email_rule, parse_email, parse_username, username_rule

OWN_ISSUER = "enroll"
OWN_AUDIENCE = "enroll"
OWN_ALGORITHM = "HS256"

MAX_TOKEN_LENGTH = 8_192
#: Seconds by which the clocks of two machines may differ.
LEEWAY_SECONDS = 5.0
MAX_NUMERIC_DATE = 1e12
MAX_KID_LENGTH = 200

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
#: Accepted values of `typ`, which may also be absent (RFC 7519 5.1, RFC 9068 2.1).
_TYPES = frozenset({"jwt", "at+jwt"})
_REQUIRED = ("exp", "iat", "iss", "aud")
_INVISIBLE = "has a character that is invisible or changes the direction of the text."


class Claims(NamedTuple):
    """The verified claims about the subject of a token."""

    username: str
    email: str | None
    is_staff: bool
    #: Seconds of validity left at the time of verification.
    seconds_left: float
    #: The OAuth client that a token of our own was given to.
    client_id: str | None = None


class TokenRefused(Exception):
    """A token was rejected; `code` is an error code of Open edX."""

    def __init__(self, reason: str, *, code: str = "token_nonexistent") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Issuer(NamedTuple):
    """An issuer with its only algorithm, its keys and the required audience."""

    name: str
    audience: str
    algorithm: str
    keys: IssuerKeys


def sign_token(
    key: SigningKey,
    username: str,
    *,
    email: str | None = None,
    staff: bool = False,
    minutes: float = 60,
    now: datetime,
    more: Mapping[str, str] | None = None,
) -> str:
    """Signs a token for a person; `verify` rejects one that is valid for too long.

    `more` are claims beside those about the person, such as `client_id`.

    Raises ValueError for other claims that `verify` would reject.
    """
    subject = parse_username(username)
    if subject is None or (email is not None and parse_email(email) is None):
        message = "the username or the e-mail address is invalid"
        raise ValueError(message)
    issued = int(now.timestamp())
    claims: dict[str, Any] = {
        **(more or {}),
        "iss": OWN_ISSUER,
        "aud": OWN_AUDIENCE,
        "iat": issued,
        "exp": issued + round(minutes * 60),
        "sub": subject,
        "preferred_username": subject,
        "administrator": staff,
    }
    if email is not None:
        claims["email"] = email
    return jwt.encode(claims, key.secret, algorithm=OWN_ALGORITHM, headers={"kid": key.kid})


class TokenVerifier:
    """Verifies tokens of our own and of one external issuer, each with the keys of its issuer.

    The unverified `iss` only selects one of the two; algorithm, audience and keys come from
    the settings.
    """

    def __init__(
        self,
        settings: Settings,
        own_keys: IssuerKeys | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`own_keys` is None where this service takes no tokens of its own.

        Raises SettingsError for unusable keys of the external issuer.
        """
        self._clock = clock
        self._max_lifetime = settings.jwt_max_lifetime
        self._jwt = jwt.PyJWT({"require": list(_REQUIRED), "enforce_minimum_key_length": True})
        self._issuers: dict[str, Issuer] = {}
        if own_keys is not None:
            own = Issuer(OWN_ISSUER, OWN_AUDIENCE, OWN_ALGORITHM, own_keys)
            self._issuers[OWN_ISSUER] = own
        external = _external_issuer(settings, clock)
        if external is not None:
            self._issuers[external.name] = external
        #: Whether `verify` may wait for the network, so that it needs a thread.
        self.may_block = any(issuer.keys.may_block for issuer in self._issuers.values())

    def verify(self, token: str) -> Claims:
        """Verifies a token and returns its claims. Raises TokenRefused, KeysUnavailable."""
        header, unverified = _parse(token)
        name = unverified.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            message = "The token's issuer is unknown."
            raise TokenRefused(message)
        claims = self._decode(token, issuer, _kid(header))
        return self._claims(claims, client_id=_client_id(claims) if name == OWN_ISSUER else None)

    def _decode(self, token: str, issuer: Issuer, kid: str | None) -> dict[str, Any]:
        """Verifies signature, issuer and audience; returns all claims. Raises TokenRefused."""
        try:
            return self._jwt.decode(
                token,
                issuer.keys.find(kid),
                algorithms=[issuer.algorithm],
                audience=issuer.audience,
                issuer=issuer.name,
                # Checked by `_seconds_left`, with our own clock.
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.InvalidAudienceError as error:
            message = "The token is not for this service (aud)."
            raise TokenRefused(message) from error
        except jwt.MissingRequiredClaimError as error:
            message = f"The token lacks the claim {error.claim}."
            raise TokenRefused(message, code="token_malformed") from error
        except (jwt.PyJWTError, UnknownKey) as error:
            message = "The token's signature is invalid."
            raise TokenRefused(message) from error

    def _claims(self, claims: Mapping[str, Any], *, client_id: str | None) -> Claims:
        return Claims(
            username=_username(claims),
            email=_email(claims),
            is_staff=claims.get("administrator") is True,
            seconds_left=self._seconds_left(claims),
            client_id=client_id,
        )

    def _seconds_left(self, claims: Mapping[str, Any]) -> float:
        """Checks `exp`, `iat` and `nbf`; returns the seconds until expiry. Raises TokenRefused."""
        now = self._clock()
        expires, issued = _timestamp(claims, "exp"), _timestamp(claims, "iat")
        if expires <= now:
            message = "The token has expired."
            raise TokenRefused(message, code="token_expired")
        begins = _timestamp(claims, "nbf") if "nbf" in claims else issued
        if max(issued, begins) > now + LEEWAY_SECONDS:
            message = "The token is not valid yet."
            raise TokenRefused(message)
        if expires - issued > self._max_lifetime:
            message = (
                f"The token is valid for too long: exp - iat is {expires - issued:.0f} seconds, "
                f"and the maximum is {self._max_lifetime}."
            )
            raise TokenRefused(message)
        return expires - now


def check_issuer_settings(settings: Settings) -> None:
    """Checks that the external issuer's keys can be used, if one is configured.

    Reads files, and no URL. Raises SettingsError.
    """
    _external_issuer(settings, time.monotonic)


def _external_issuer(settings: Settings, clock: Callable[[], float]) -> Issuer | None:
    """Returns the configured issuer; None without one. Raises SettingsError."""
    external = external_keys(settings, clock)
    if external is None or settings.jwt_issuer is None or settings.jwt_audience is None:
        return None
    if settings.jwt_issuer == OWN_ISSUER:
        message = (
            f"ENROLL_JWT_ISSUER cannot be {OWN_ISSUER!r}: this is the issuer of our own tokens"
        )
        raise SettingsError(message)
    keys, algorithm = external
    return Issuer(settings.jwt_issuer, settings.jwt_audience, algorithm, keys)


def _parse(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parses header and claims, unverified and more strictly than PyJWT does.

    Raises TokenRefused for tokens that are too long, are not I-JSON (RFC 7493), or declare
    extensions (`crit`), none of which is supported.
    """
    parts = _COMPACT.fullmatch(token) if len(token) <= MAX_TOKEN_LENGTH else None
    if parts is None:
        _reject_malformed()
    header, claims = _parse_object(parts[1]), _parse_object(parts[2])
    kind = header.get("typ", "JWT")
    if "crit" in header or "b64" in header or str(kind).lower() not in _TYPES:
        _reject_malformed()
    return header, claims


def _parse_object(segment: str) -> dict[str, Any]:
    try:
        value = loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except ValueError as error:
        _reject_malformed(error)
    if not isinstance(value, dict):
        _reject_malformed()
    return value


def _reject_malformed(cause: Exception | None = None) -> NoReturn:
    message = "The token cannot be parsed."
    raise TokenRefused(message, code="token_malformed") from cause


def _kid(header: Mapping[str, Any]) -> str | None:
    kid = header.get("kid")
    if kid is not None and (not isinstance(kid, str) or len(kid) > MAX_KID_LENGTH):
        _reject_malformed()
    return kid


def _client_id(claims: Mapping[str, Any]) -> str | None:
    client_id = claims.get("client_id")
    if client_id is not None and not isinstance(client_id, str):
        _reject_malformed()
    return client_id


def _timestamp(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        _reject_malformed()
    if not 0 <= value <= MAX_NUMERIC_DATE:  # false for NaN too
        _reject_malformed()
    return value


def _username(claims: Mapping[str, Any]) -> str:
    name = claims.get("preferred_username")
    if name is None:
        name = claims.get("sub")
    username = parse_username(name) if isinstance(name, str) else None
    if username is None:
        message = "preferred_username (or else sub) must be a username."
        if isinstance(name, str) and username_rule(name) == "invisible_character":
            message = f"The username in the token {_INVISIBLE}"
        raise TokenRefused(message, code="token_malformed")
    return username


def _email(claims: Mapping[str, Any]) -> str | None:
    """Returns the subject's address; None if the issuer has not verified it."""
    email, verified = claims.get("email") or None, claims.get("email_verified", True)
    if email is None or not (verified is True or verified == "true"):  # some issuers send texts
        return None
    address = parse_email(email) if isinstance(email, str) else None
    if address is None:
        message = "The e-mail address in the token is not valid."
        if isinstance(email, str) and email_rule(email) == "invisible_character":
            message = f"The e-mail address in the token {_INVISIBLE}"
        raise TokenRefused(message, code="token_malformed")
    return address
