"""Authentication: maps the credentials of a request to a caller.

An API key is looked up by its hash, a token is verified. Both results are cached in the
process for some seconds, so that a busy client costs one dictionary lookup per request.
"""

import asyncio
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Generic, NamedTuple, TypeVar

import falcon.asgi

from api_gateway.auth.api_keys import EDX_KEY_NAME, digest_of, looks_like_api_key
from api_gateway.auth.caller import Caller
from api_gateway.auth.jwt_keys import KeysUnavailable
from api_gateway.auth.jwt_tokens import Claims, TokenRefused, TokenVerifier
from api_gateway.auth.key_usage import KeyUsage
from api_gateway.auth.oauth_clients import OAuthClients, configured_clients
from api_gateway.auth.signing_keys import SigningKeys
from api_gateway.database import Database
from api_gateway.http.problems import Problem, unauthenticated, unavailable
from enrollment.domain.codes import CallerKind
from enrollment.runtime.settings import Settings
from enrollment.storage.credentials import api_keys

#: Seconds for which the caller of a key is cached, so a revocation takes effect after them.
KEY_CACHE_SECONDS = 2.0
#: Seconds for which the caller of a token is cached, if the token is valid that long.
TOKEN_CACHE_SECONDS = 10.0
MAX_CACHED_CALLERS = 1_000

STAFF_SCOPES = frozenset({"enroll", "read"})
EDX_CALLER = Caller(
    f"key:{EDX_KEY_NAME}", CallerKind.SERVER, frozenset({"enroll", "read", "courses"})
)
#: Stands in the cache for every key whose time is over.
_EXPIRED_KEY = Caller("", CallerKind.SERVER)

#: Matches a repeated header: the framework joins the values with a comma.
_SECOND_HEADER = re.compile(r",\s*(jwt|bearer)\s", re.IGNORECASE)

K = TypeVar("K")


class CallerCache(Generic[K]):
    """A bounded LRU cache of callers; entries expire."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[K, tuple[float, Caller | None]] = OrderedDict()

    def get(self, key: K, now: float) -> tuple[float, Caller | None] | None:
        """Returns the expiry (monotonic seconds) and the caller of an entry; None without one."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= now:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry

    def put(self, key: K, caller: Caller | None, expires_at: float) -> None:
        """Adds an entry; the caller `None` stands for invalid credentials."""
        self._entries[key] = (expires_at, caller)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)


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
        wall_clock: Callable[[], float] = time.time,
        max_cached: int = MAX_CACHED_CALLERS,
    ) -> None:
        """Cache entries expire by `clock`, which is monotonic, tokens by `wall_clock`.

        Raises SettingsError for unusable keys of the external issuer or of our own, and for
        unusable clients.
        """
        self._database = database
        self._clock = clock
        self._wall_clock = wall_clock
        self._usage = KeyUsage(database, wall_clock)
        self._edx_key = None if settings.edx_api_key is None else settings.edx_api_key.encode()
        #: Signs and verifies tokens of our own; None where there are none.
        self.own_keys = SigningKeys(settings, wall_clock) if settings.own_tokens else None
        self._verifier = TokenVerifier(settings, self.own_keys, clock=wall_clock)
        configured = configured_clients(settings)
        self.clients = OAuthClients(database, configured, clock=clock, wall_clock=wall_clock)
        self._keys = CallerCache[bytes](max_cached)
        self._tokens = CallerCache[str](max_cached)
        self._lookups: dict[bytes, asyncio.Task[Caller | None]] = {}

    async def identify(self, req: falcon.asgi.Request) -> Caller | None:
        """Returns the caller; None for a request without credentials.

        Raises Problem 401 for invalid credentials, 503 if the keys of the external issuer
        cannot be read; DatabaseUnavailable, Overloaded.
        """
        key, token = self.credentials(req)
        key_holder = None if key is None else await self._from_key(key)
        return await self._combined(key_holder, token)

    async def identify_link(self, digest: bytes | None, token: str | None) -> Caller | None:
        """Returns the caller of an API key with this hash, of a JWT, or of both.

        Raises as `identify`.
        """
        key_holder = None
        if digest is not None:
            is_edx_key = self._edx_key is not None and digest == sha256(self._edx_key).digest()
            key_holder = EDX_CALLER if is_edx_key else await self._from_digest(digest)
        return await self._combined(key_holder, token)

    async def _combined(self, key_holder: Caller | None, token: str | None) -> Caller | None:
        if token is None:
            return key_holder
        subject = await self._from_token(token)
        return subject if key_holder is None else combine_callers(subject, key_holder)

    def credentials(self, req: falcon.asgi.Request) -> Credentials:
        """Reads both headers; a bearer credential is an API key if it has the format of one."""
        key = req.get_header("X-Edx-Api-Key") or None
        authorization = _authorization(req)
        if authorization is None:
            return Credentials(key, None)
        scheme, text = authorization
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
        """Returns the caller of an API key. Raises Problem 401."""
        if self._is_edx_key(key):
            return EDX_CALLER
        if not looks_like_api_key(key):
            raise invalid_credentials("The API key is not valid.")
        return await self._from_digest(digest_of(key))

    async def _from_digest(self, digest: bytes) -> Caller:
        """Returns the caller of the API key with this hash. Raises Problem 401."""
        entry = self._keys.get(digest, self._clock())
        caller = await self._look_up_once(digest) if entry is None else entry[1]
        if caller is None:
            raise invalid_credentials("The API key is not valid.")
        if caller is _EXPIRED_KEY:
            raise invalid_credentials("The API key has expired.", "token_expired")
        return caller

    async def _look_up_once(self, digest: bytes) -> Caller | None:
        """Looks a key up with one query for all requests that wait for it."""
        task = self._lookups.get(digest)
        if task is None:
            task = asyncio.create_task(self._look_up(digest))
            self._lookups[digest] = task
            task.add_done_callback(lambda task: self._remove_task(digest, task))
        return await asyncio.shield(task)

    def _remove_task(self, digest: bytes, task: "asyncio.Task[Caller | None]") -> None:
        del self._lookups[digest]
        if not task.cancelled():
            task.exception()  # marks it as retrieved, in case every waiting request was cancelled

    async def _look_up(self, digest: bytes) -> Caller | None:
        queried_at = self._clock()  # the result is as old as the query
        key = await self._database.read(api_keys.find_by_digest, digest)
        caller = None if key is None else self._holder(key)
        self._keys.put(digest, caller, queried_at + KEY_CACHE_SECONDS)
        return caller

    def _holder(self, key: api_keys.ApiKey) -> Caller:
        """Returns the caller of a key, and notes the use of one that has not expired."""
        if key.has_expired(datetime.fromtimestamp(self._wall_clock(), UTC)):
            return _EXPIRED_KEY
        self._usage.note(key.id)
        return key_caller(key)

    async def _from_token(self, token: str) -> Caller:
        """Returns the caller of a token. Raises Problem 401, 503."""
        now = self._clock()
        entry = self._tokens.get(token, now)
        if entry is not None and entry[1] is not None:
            return entry[1]
        claims = await self._verified(token)
        expires_at = now + min(claims.seconds_left, TOKEN_CACHE_SECONDS)
        if claims.client_id is not None:
            claims, client_expires_at = await self._of_client(claims, claims.client_id)
            expires_at = min(expires_at, client_expires_at)
        caller = token_caller(claims)
        self._tokens.put(token, caller, expires_at)
        return caller

    async def _of_client(self, claims: Claims, client_id: str) -> tuple[Claims, float]:
        """Checks that the client of a token is in use; returns how long that may be assumed.

        The token is that of a staff member as long as its client is one. Raises Problem 401.
        """
        client, expires_at = await self.clients.find(client_id)
        if client is None or client.username != claims.username:
            raise invalid_credentials("The client of the token was revoked.")
        return claims._replace(is_staff=claims.is_staff and client.is_staff), expires_at

    async def _verified(self, token: str) -> Claims:
        """Verifies a token; in a thread if that may fetch keys. Raises Problem 401, 503."""
        try:
            if self._verifier.may_block:
                return await asyncio.to_thread(self._verifier.verify, token)
            return self._verifier.verify(token)
        except TokenRefused as refusal:
            raise invalid_credentials(refusal.reason, refusal.code) from refusal
        except KeysUnavailable as error:
            raise unavailable("The token issuer's keys cannot be read; try again.") from error


def key_caller(key: api_keys.ApiKey) -> Caller:
    """Returns the caller of an API key without a token."""
    kind = CallerKind.ADMIN if "admin" in key.scopes else CallerKind.SERVER
    return Caller(f"key:{key.name}", kind, key.scopes)


def token_caller(claims: Claims) -> Caller:
    """Returns the caller of a token without an API key."""
    name = f"user:{claims.username}"
    if claims.is_staff:
        return Caller(name, CallerKind.STAFF, STAFF_SCOPES, claims.username, claims.email)
    return Caller(name, CallerKind.LEARNER, frozenset(), claims.username, claims.email)


def combine_callers(subject: Caller, key_holder: Caller) -> Caller:
    """Returns the caller of a token with an API key: the subject with the key's scopes added."""
    if "admin" in key_holder.scopes:
        kind = CallerKind.ADMIN
    elif subject.kind is CallerKind.STAFF or "enroll" not in key_holder.scopes:
        kind = subject.kind
    else:
        kind = CallerKind.SERVER
    return subject._replace(kind=kind, scopes=subject.scopes | key_holder.scopes)


def invalid_credentials(detail: str, code: str = "token_nonexistent") -> Problem:
    """Returns problem 401 for invalid credentials, with the members that Open edX clients read."""
    problem = unauthenticated(detail)
    problem.members |= {"error_code": code, "developer_message": detail}
    return problem


def _authorization(req: falcon.asgi.Request) -> tuple[str, str] | None:
    """Returns scheme and credentials of Authorization; None without it or for other schemes.

    Raises Problem 401 for a repeated header and for missing credentials.
    """
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
    """Returns the value of a header as it was received."""
    return text.encode("latin-1")
