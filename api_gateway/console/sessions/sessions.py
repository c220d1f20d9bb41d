"""Sessions of the console, which a browser has instead of an API key or a token.

The cookie holds the id of the session and its credentials (the hash of an API key, or a token),
encrypted and signed with a key derived from our signing key. The database holds the hash of the id,
so that a session can be ended here. Credentials are verified with every request: a session ends
with its key or token, and has no permissions but theirs.
"""

import base64
import hmac
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

import orjson
from cryptography.fernet import Fernet, InvalidToken
from falcon.asgi import Request, Response

from api_gateway.auth.api_keys import digest_of, looks_like_api_key
from api_gateway.auth.authentication import Authenticator, invalid_credentials
from api_gateway.auth.caller import Caller
from api_gateway.auth.caller_throttle import CallerThrottle
from api_gateway.auth.jwt_keys import UnknownKey
from api_gateway.auth.links.link_tokens import LinkCredentials
from api_gateway.auth.signing.shared_key import SharedSigningKey
from api_gateway.auth.signing_keys import SigningKey
from api_gateway.console.sessions.cookies import (
    MAX_VALUE,
    SESSION_COOKIE,
    check_transport,
    read_cookie,
    write_cookie,
)
from api_gateway.database import Database
from api_gateway.http.problems import Problem, unavailable
from api_gateway.http.responses import dumps
from enrollment.storage.credentials import console_sessions

#: How long a session lasts at most.
SESSION_TIME = timedelta(hours=8)
_ID_BYTES = 32
#: The purpose of the derived key, which is of no use for tokens of any other kind.
_PURPOSE = b"enroll: sessions of the console, 1"
#: Dots in a JSON web token.
_DOTS = 2


class ConsoleSession(NamedTuple):
    """A session with the caller of its credentials."""

    #: SHA-256 of its id.
    digest: bytes
    caller: Caller
    credentials: LinkCredentials
    #: The token that each form of the session must contain.
    form_token: str


class ConsoleSessions:
    """Starts, finds and ends sessions. One per event loop."""

    def __init__(
        self,
        database: Database,
        authenticator: Authenticator,
        shared_key: SharedSigningKey,
        throttle: CallerThrottle,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._authenticator = authenticator
        self._shared_key = shared_key
        self._throttle = throttle
        self._now = now

    async def start(self, req: Request, resp: Response, text: str) -> Caller:
        """Starts a session with an API key or a token, and sets its cookie.

        A session that the browser had is ended. Raises Problem 401 for invalid credentials, 403
        over plain HTTP, 429 after too many failures, 503 without a signing key.
        """
        check_transport(req)
        self._throttle.check_login(req, text)
        try:
            caller, credentials = await self._identify(text)
        except Problem as problem:
            if problem.status == invalid_credentials("").status:
                await self._throttle.count_failed_login(req, text, problem)
            raise
        self._throttle.note_login(req, text)
        await self.end(req, resp)
        session_id, now = secrets.token_bytes(_ID_BYTES), self._now()
        value = _seal(await self._key(), session_id, credentials)
        digest, expires_at = sha256(session_id).digest(), now + SESSION_TIME
        await self._database.write(
            console_sessions.start, digest, caller=caller.name, now=now, expires_at=expires_at
        )
        seconds = int(SESSION_TIME.total_seconds())
        write_cookie(req, resp, SESSION_COOKIE, value, seconds=seconds)
        return caller

    async def find(self, req: Request) -> ConsoleSession | None:
        """Returns the session of a request; None without one that lasts.

        Raises Problem 503; DatabaseUnavailable, Overloaded.
        """
        value = read_cookie(req, SESSION_COOKIE)
        opened = None if value is None else self._open(value)
        if opened is None:
            return None
        session_id, credentials = opened
        digest = sha256(session_id).digest()
        try:
            caller = await self._authenticator.identify_link(*credentials)
        except Problem as problem:
            if problem.status == invalid_credentials("").status:
                return None
            raise
        found = await self._database.read(console_sessions.find_expiry, digest, now=self._now())
        if found is None or caller is None:
            return None
        return ConsoleSession(digest, caller, credentials, _form_token(session_id))

    async def end(self, req: Request, resp: Response) -> None:
        """Ends the session of a request here, and removes its cookie."""
        value = read_cookie(req, SESSION_COOKIE)
        if value is None:
            return
        write_cookie(req, resp, SESSION_COOKIE, "", seconds=0)
        opened = self._open(value)
        if opened is not None:
            await self._database.write(console_sessions.end, sha256(opened[0]).digest())

    async def _identify(self, text: str) -> tuple[Caller, LinkCredentials]:
        """Returns the caller of an API key or a token. Raises Problem 401, 503."""
        is_token = not looks_like_api_key(text) and text.count(".") == _DOTS
        credentials = (
            LinkCredentials(None, text) if is_token else LinkCredentials(digest_of(text), None)
        )
        caller = await self._authenticator.identify_link(*credentials)
        if caller is None:
            raise invalid_credentials("Enter an API key or a token.")
        return caller, credentials

    async def _key(self) -> SigningKey:
        """Returns the key that signs. Raises Problem 503; DatabaseUnavailable, Overloaded."""
        key = await self._shared_key.current()
        if key is None:
            message = "The console needs a signing key (ENROLL_SIGNING_KEY, ENROLL_OWN_TOKENS). "
            raise unavailable(message + self._shared_key.missing)
        return key

    def _open(self, value: str) -> tuple[bytes, LinkCredentials] | None:
        """Returns id and credentials of a cookie; None unless it was made here."""
        keys = self._authenticator.own_keys
        kid, _, sealed = value.partition(".")
        if keys is None:
            return None
        try:
            seconds = int(SESSION_TIME.total_seconds())
            content = _cipher(keys.find(kid)).decrypt(sealed, ttl=seconds)
        except (InvalidToken, UnknownKey):
            return None
        session_id, digest, token = orjson.loads(content)
        credentials = LinkCredentials(None if digest is None else bytes.fromhex(digest), token)
        return bytes.fromhex(session_id), credentials


def _seal(key: SigningKey, session_id: bytes, credentials: LinkCredentials) -> str:
    """Returns the value of the cookie. Raises Problem 401."""
    digest = None if credentials.digest is None else credentials.digest.hex()
    content = dumps([session_id.hex(), digest, credentials.token])
    value = f"{key.kid}.{_cipher(key.secret).encrypt(content).decode()}"
    if len(value) > MAX_VALUE:
        raise invalid_credentials("The token is too long for a cookie: use an API key.")
    return value


def _form_token(session_id: bytes) -> str:
    digest = hmac.digest(session_id, b"forms", "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _cipher(secret: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hmac.digest(secret, _PURPOSE, "sha256")))
