"""Authentication: turns the credentials of a request into a caller.

An API key is looked up by its hash and a token is verified once. Both results are cached in
the process for some seconds, so that a busy client costs one dictionary lookup per request.
"""

import asyncio
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import falcon.asgi

from api_gateway.auth.api_keys import digest_of, looks_like_api_key
from api_gateway.auth.caller import Caller
from api_gateway.auth.jwt_keys import KeysUnavailable
from api_gateway.auth.jwt_tokens import (
    SIGNING_SECRET,
    Claims,
    TokenRefused,
    TokenVerifier,
    new_signing_secret,
)
from api_gateway.database import Database
from api_gateway.http.problems import Problem, unauthenticated, unavailable
from enrollment.domain.codes import CallerKind
from enrollment.runtime.settings import Settings
from enrollment.storage.credentials import api_keys, secrets

#: Seconds for which the caller of a key is cached: a revocation takes effect after them.
KEY_SECONDS = 2.0
#: Seconds for which the caller of a token is cached, if the token is valid that long.
TOKEN_SECONDS = 30.0
MAX_CACHED = 1_000

STAFF_SCOPES = frozenset({"enroll", "read"})
EDX_CALLER = Caller("key:edx", CallerKind.SERVER, frozenset({"enroll", "read", "courses"}))

#: The framework joins repeated headers with a comma.
_SECOND_HEADER = re.compile(r",\s*(jwt|bearer)\s", re.IGNORECASE)

K = TypeVar("K")


class CallerCache(Generic[K]):
    """A bounded LRU cache of callers whose entries expire."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._answers: OrderedDict[K, tuple[float, Caller | None]] = OrderedDict()

    def get(self, key: K, now: float) -> tuple[float, Caller | None] | None:
        """Return the expiry and the caller of an entry; None if there is no entry."""
        entry = self._answers.get(key)
        if entry is None:
            return None
        if entry[0] <= now:
            del self._answers[key]
            return None
        self._answers.move_to_end(key)
        return entry

    def put(self, key: K, answer: Caller | None, until: float) -> None:
        """Add an entry; the caller ``None`` stands for invalid credentials."""
        self._answers[key] = (until, answer)
        self._answers.move_to_end(key)
        if len(self._answers) > self._bound:
            self._answers.popitem(last=False)


class Credentials(NamedTuple):
    """The credentials of a request: an API key, a token, both, or neither."""

    key: str | None
    token: str | None


class Authenticator:
    """Authenticates requests. Belongs to one event loop."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        clock: Callable[[], float],
        *,
        wall: Callable[[], float] = time.time,
        bound: int = MAX_CACHED,
    ) -> None:
        """Cache entries expire by the monotonic clock, tokens by the wall clock.

        Raises SettingsError if the external issuer's keys cannot be used.
        """
        self._database = database
        self._clock = clock
        self._edx_key = None if settings.edx_api_key is None else settings.edx_api_key.encode()
        self._verifier = TokenVerifier(settings, self._own_secret, clock=wall)
        self._secret = b""  # not read yet; an empty one verifies no token
        self._keys = CallerCache[bytes](bound)
        self._tokens = CallerCache[str](bound)
        self._lookups: dict[bytes, asyncio.Task[Caller | None]] = {}

    async def identify(self, req: falcon.asgi.Request) -> Caller | None:
        """Return the caller, or None for a request without credentials.

        Raises Problem 401 for invalid credentials, 503 if an external issuer's keys cannot be
        read, and RecordsUnavailable.
        """
        key, token = self._credentials(req)
        server = None if key is None else await self._from_key(key)
        if token is None:
            return server
        person = await self._from_token(token)
        return person if server is None else combine(person, server)

    def _credentials(self, req: falcon.asgi.Request) -> Credentials:
        key = req.get_header("X-Edx-Api-Key") or None
        carried = _authorization(req)
        if carried is None:
            return Credentials(key, None)
        scheme, text = carried
        if scheme == "jwt" or not self._is_key(text):
            return Credentials(key, text)
        if key is not None and not hmac.compare_digest(_header_bytes(key), _header_bytes(text)):
            raise invalid_credentials("Two different API keys cannot be used together.")
        return Credentials(text, None)

    def _is_key(self, text: str) -> bool:
        return looks_like_api_key(text) or self._is_edx_key(text)

    def _is_edx_key(self, text: str) -> bool:
        return self._edx_key is not None and hmac.compare_digest(_header_bytes(text), self._edx_key)

    async def _from_key(self, key: str) -> Caller:
        if self._is_edx_key(key):
            return EDX_CALLER
        digest = digest_of(key)
        entry = self._keys.get(digest, self._clock())
        if entry is not None:
            caller = entry[1]
        else:
            caller = await self._look_up_once(digest) if looks_like_api_key(key) else None
        if caller is None:
            raise invalid_credentials("The API key is not valid.")
        return caller

    async def _look_up_once(self, digest: bytes) -> Caller | None:
        """Look a key up once, however many requests wait for the result."""
        task = self._lookups.get(digest)
        if task is None:
            task = asyncio.create_task(self._look_up(digest))
            self._lookups[digest] = task
            task.add_done_callback(lambda done: self._forget_task(digest, done))
        return await asyncio.shield(task)

    def _forget_task(self, digest: bytes, done: "asyncio.Task[Caller | None]") -> None:
        del self._lookups[digest]
        if not done.cancelled():
            done.exception()  # mark it as retrieved if every waiting request was cancelled

    async def _look_up(self, digest: bytes) -> Caller | None:
        asked = self._clock()  # the result is as old as the query
        found = await self._database.read(api_keys.find_by_digest, digest)
        caller = None if found is None else key_caller(found)
        self._keys.put(digest, caller, asked + KEY_SECONDS)
        return caller

    async def _from_token(self, token: str) -> Caller:
        now = self._clock()
        entry = self._tokens.get(token, now)
        if entry is not None and entry[1] is not None:
            return entry[1]
        claims = await self._verified(token)
        person = token_caller(claims)
        self._tokens.put(token, person, now + min(claims.seconds_left, TOKEN_SECONDS))
        return person

    async def _verified(self, token: str) -> Claims:
        if not self._secret:
            self._secret = await self._database.write(
                secrets.get_or_create, SIGNING_SECRET, new_signing_secret()
            )
        try:
            if self._verifier.may_block:
                return await asyncio.to_thread(self._verifier.verify, token)
            return self._verifier.verify(token)
        except TokenRefused as refusal:
            raise invalid_credentials(refusal.reason, refusal.code) from refusal
        except KeysUnavailable as away:
            raise unavailable("The token issuer's keys cannot be read; try again.") from away

    def _own_secret(self) -> bytes:
        return self._secret


def key_caller(key: api_keys.ApiKey) -> Caller:
    """The caller of an API key without a token."""
    kind = CallerKind.ADMIN if "admin" in key.scopes else CallerKind.SERVER
    return Caller(f"key:{key.name}", kind, key.scopes)


def token_caller(claims: Claims) -> Caller:
    """The caller of a token without an API key."""
    name = f"user:{claims.username}"
    if claims.is_staff:
        return Caller(name, CallerKind.STAFF, STAFF_SCOPES, claims.username, claims.email)
    return Caller(name, CallerKind.LEARNER, frozenset(), claims.username, claims.email)


def combine(person: Caller, server: Caller) -> Caller:
    """The caller of a token with an API key: the person, with the key's scopes added."""
    if "admin" in server.scopes:
        kind = CallerKind.ADMIN
    elif person.kind is CallerKind.STAFF or "enroll" not in server.scopes:
        kind = person.kind
    else:
        kind = CallerKind.SERVER
    return person._replace(kind=kind, scopes=person.scopes | server.scopes)


def invalid_credentials(detail: str, code: str = "token_nonexistent") -> Problem:
    """401 for invalid credentials, with the members that Open edX clients read."""
    problem = unauthenticated(detail)
    problem.members |= {"error_code": code, "developer_message": detail}
    return problem


def _authorization(req: falcon.asgi.Request) -> tuple[str, str] | None:
    """Scheme and credentials of the Authorization header; None if absent or another scheme."""
    value = req.get_header("Authorization")
    if value is None:
        return None
    if "," in value and _SECOND_HEADER.search(value):
        raise invalid_credentials("Authorization must be sent once.", "token_malformed")
    scheme, _, text = value.partition(" ")
    scheme, text = scheme.lower(), text.strip()
    if scheme not in {"jwt", "bearer"}:
        return None
    if not text:
        raise invalid_credentials(
            "Authorization has a scheme but no credentials.", "token_not_provided"
        )
    return scheme, text


def _header_bytes(text: str) -> bytes:
    """A header's value as it was received."""
    return text.encode("latin-1")
