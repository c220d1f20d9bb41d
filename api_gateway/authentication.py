"""Who is asking: the credentials that a request carries, turned into a caller.

An API key is looked up by its hash and a token is verified once; both answers are kept for
some seconds in the process, so that a busy client costs a dictionary look-up a request.
"""

import asyncio
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import falcon.asgi

from api_gateway.callers import Caller
from api_gateway.problems import Problem, unauthenticated, unavailable
from api_gateway.records import Records
from api_gateway.token_keys import KeysUnavailable
from api_gateway.tokens import (
    SIGNING_SECRET,
    Claims,
    TokenRefused,
    TokenVerifier,
    digest_of,
    looks_like_api_key,
    new_signing_secret,
)
from enrollment.domain.codes import CallerKind
from enrollment.settings import Settings
from enrollment.storage import keys, secrets

#: Seconds that a key's answer is kept: a revocation holds everywhere after so long.
KEY_SECONDS = 2.0
#: Seconds that a token's answer is kept, if the token lives that long.
TOKEN_SECONDS = 30.0
MAX_KEPT = 1_000

STAFF_SCOPES = frozenset({"enroll", "read"})
EDX_CALLER = Caller("key:edx", CallerKind.SERVER, frozenset({"enroll", "read", "courses"}))

#: The framework joins with a comma what was sent twice.
_SECOND_HEADER = re.compile(r",\s*(jwt|bearer)\s", re.IGNORECASE)

K = TypeVar("K")


class Kept(Generic[K]):
    """Answers kept for a while; beyond the bound, the one longest unused is let go."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._answers: OrderedDict[K, tuple[float, Caller | None]] = OrderedDict()

    def get(self, key: K, now: float) -> tuple[float, Caller | None] | None:
        """The end of the answer's time and the answer; None where none is kept."""
        entry = self._answers.get(key)
        if entry is None:
            return None
        if entry[0] <= now:
            del self._answers[key]
            return None
        self._answers.move_to_end(key)
        return entry

    def put(self, key: K, answer: Caller | None, until: float) -> None:
        """Keep an answer, ``None`` too."""
        self._answers[key] = (until, answer)
        self._answers.move_to_end(key)
        if len(self._answers) > self._bound:
            self._answers.popitem(last=False)


class Credentials(NamedTuple):
    """What a request carries; at least one of the two, or it carries nothing."""

    key: str | None
    token: str | None


class Authenticator:
    """Turns credentials into callers. Belongs to one event loop."""

    def __init__(
        self,
        records: Records,
        settings: Settings,
        clock: Callable[[], float],
        *,
        wall: Callable[[], float] = time.time,
        bound: int = MAX_KEPT,
    ) -> None:
        """Answers age by the monotonic clock, tokens by the one on the wall.

        Raises SettingsError where the outside issuer's keys are no good.
        """
        self._records = records
        self._clock = clock
        self._edx_key = None if settings.edx_api_key is None else settings.edx_api_key.encode()
        self._verifier = TokenVerifier(settings, self._own_secret, clock=wall)
        self._secret = b""  # none yet: no token is ever believed by an empty one
        self._keys = Kept[bytes](bound)
        self._tokens = Kept[str](bound)
        self._looking_up: dict[bytes, asyncio.Task[Caller | None]] = {}

    async def identify(self, req: falcon.asgi.Request) -> Caller | None:
        """The caller, or None where the request carries no credentials at all.

        Raises Problem 401 where it carries some that are not valid, 503 where an outside
        issuer's keys cannot be had, and RecordsUnavailable.
        """
        key, token = self._credentials(req)
        server = None if key is None else await self._server(key)
        if token is None:
            return server
        person = await self._person(token)
        return person if server is None else together(person, server)

    def _credentials(self, req: falcon.asgi.Request) -> Credentials:
        key = req.get_header("X-Edx-Api-Key") or None
        carried = _authorization(req)
        if carried is None:
            return Credentials(key, None)
        scheme, text = carried
        if scheme == "jwt" or not self._is_key(text):
            return Credentials(key, text)
        if key is not None and not hmac.compare_digest(_octets(key), _octets(text)):
            raise refused("Two API keys that differ cannot be used together.")
        return Credentials(text, None)

    def _is_key(self, text: str) -> bool:
        return looks_like_api_key(text) or self._is_edx_key(text)

    def _is_edx_key(self, text: str) -> bool:
        return self._edx_key is not None and hmac.compare_digest(_octets(text), self._edx_key)

    async def _server(self, key: str) -> Caller:
        if self._is_edx_key(key):
            return EDX_CALLER
        digest = digest_of(key)
        entry = self._keys.get(digest, self._clock())
        if entry is not None:
            caller = entry[1]
        else:
            caller = await self._looked_up(digest) if looks_like_api_key(key) else None
        if caller is None:
            raise refused("The API key is not valid.")
        return caller

    async def _looked_up(self, digest: bytes) -> Caller | None:
        """Ask the records once, however many requests with this key wait for the answer."""
        task = self._looking_up.get(digest)
        if task is None:
            task = asyncio.create_task(self._look_up(digest))
            self._looking_up[digest] = task
            task.add_done_callback(lambda done: self._forget_task(digest, done))
        return await asyncio.shield(task)

    def _forget_task(self, digest: bytes, done: "asyncio.Task[Caller | None]") -> None:
        del self._looking_up[digest]
        if not done.cancelled():
            done.exception()  # whoever waited has it; if nobody is left, it is no news

    async def _look_up(self, digest: bytes) -> Caller | None:
        asked = self._clock()  # the answer is as old as the question
        found = await self._records.read(keys.by_digest, digest)
        caller = None if found is None else key_caller(found)
        self._keys.put(digest, caller, asked + KEY_SECONDS)
        return caller

    async def _person(self, token: str) -> Caller:
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
            self._secret = await self._records.write(
                secrets.get_or_make, SIGNING_SECRET, new_signing_secret()
            )
        try:
            if self._verifier.may_block:
                return await asyncio.to_thread(self._verifier.verify, token)
            return self._verifier.verify(token)
        except TokenRefused as refusal:
            raise refused(refusal.reason, refusal.code) from refusal
        except KeysUnavailable as away:
            raise unavailable("The token issuer's keys cannot be read; try again.") from away

    def _own_secret(self) -> bytes:
        return self._secret


def key_caller(key: keys.ApiKey) -> Caller:
    """The server behind a key alone."""
    kind = CallerKind.ADMIN if "admin" in key.scopes else CallerKind.SERVER
    return Caller(f"key:{key.name}", kind, key.scopes)


def token_caller(claims: Claims) -> Caller:
    """The person behind a token alone."""
    name = f"user:{claims.username}"
    if claims.is_staff:
        return Caller(name, CallerKind.STAFF, STAFF_SCOPES, claims.username, claims.email)
    return Caller(name, CallerKind.LEARNER, frozenset(), claims.username, claims.email)


def together(person: Caller, server: Caller) -> Caller:
    """A token and a key: the person, with the key's scopes beside their own."""
    if "admin" in server.scopes:
        kind = CallerKind.ADMIN
    elif person.kind is CallerKind.STAFF or "enroll" not in server.scopes:
        kind = person.kind
    else:
        kind = CallerKind.SERVER
    return person._replace(kind=kind, scopes=person.scopes | server.scopes)


def refused(detail: str, code: str = "token_nonexistent") -> Problem:
    """401 for credentials that are not valid, with the members that upstream's clients read."""
    problem = unauthenticated(detail)
    problem.members |= {"error_code": code, "developer_message": detail}
    return problem


def _authorization(req: falcon.asgi.Request) -> tuple[str, str] | None:
    """Scheme and credentials of the header; None where it is missing or not for us."""
    value = req.get_header("Authorization")
    if value is None:
        return None
    if "," in value and _SECOND_HEADER.search(value):
        raise refused("Authorization must be sent once.", "token_malformed")
    scheme, _, text = value.partition(" ")
    scheme, text = scheme.lower(), text.strip()
    if scheme not in {"jwt", "bearer"}:
        return None
    if not text:
        raise refused("Authorization names a scheme without credentials.", "token_not_provided")
    return scheme, text


def _octets(text: str) -> bytes:
    """A header's value as it was on the wire."""
    return text.encode("latin-1")
