"""Tokens in links: they open one path with the credentials of the caller who got the link.

The `EventSource` of a browser cannot send headers, so a link has a token in its query. The token is
the path and the credentials (the hash of an API key, a JWT, or both), encrypted and signed with a
key derived from our signing key. Credentials are verified whenever the token is used, so it ends
with them. It reveals nothing, and is nothing but a way to that path.
"""

import base64
import hmac
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import falcon.asgi
import orjson
from cryptography.fernet import Fernet, InvalidToken

from api_gateway.auth.api_keys import digest_of
from api_gateway.auth.authentication import Authenticator, Credentials, invalid_credentials
from api_gateway.auth.caller import Caller
from api_gateway.auth.jwt_keys import UnknownKey
from api_gateway.auth.signing_keys import SigningKeys
from api_gateway.http.problems import Problem

#: Name of the query parameter.
TOKEN_PARAMETER = "token"  # noqa: S105 (no secret)
#: The end of the paths for which there are tokens.
LINKED = "/events"
#: Seconds for which a link can be opened; a stream that is open goes on.
LINK_SECONDS = 900
#: Seconds for which the same caller gets the same token again, so that polling costs a look-up.
REUSE_SECONDS = 60
MAX_REUSED = 1_000
#: The purpose of the derived key, which is of no use for tokens of any other kind.
_PURPOSE = b"enroll: tokens in links, 1"
#: Key in the scope of the credentials in a token that was opened.
_OPENED = "enroll.link_credentials"


class LinkCredentials(NamedTuple):
    """The credentials in a token."""

    #: Hash of the API key.
    digest: bytes | None
    #: The JWT.
    token: str | None


class LinkTokens:
    """Makes tokens for links, and authenticates requests with them. One per event loop."""

    def __init__(
        self, authenticator: Authenticator, *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.authenticator = authenticator
        self._keys: SigningKeys | None = authenticator.own_keys
        self._wall_clock = wall_clock
        #: Tokens with the second since 1970 in which they were made, by credentials and path.
        self._made: OrderedDict[tuple[Credentials, str], tuple[float, str]] = OrderedDict()

    def issue(self, req: falcon.asgi.Request, path: str) -> str | None:
        """Returns a token for a path with the credentials of a request; None without a key."""
        credentials, now = self.authenticator.credentials(req), self._wall_clock()
        made = self._made.get((credentials, path))
        if made is not None and 0 <= now - made[0] < REUSE_SECONDS:
            return made[1]
        digest = None if credentials.key is None else digest_of(credentials.key)
        token = self._seal(LinkCredentials(digest, credentials.token), path, int(now))
        if token is not None:
            self._made[credentials, path] = (now, token)
            while len(self._made) > MAX_REUSED:
                self._made.popitem(last=False)
        return token

    def issue_for(self, credentials: LinkCredentials, path: str) -> str | None:
        """Returns a token for a path with credentials that were verified; None without a key."""
        return self._seal(credentials, path, int(self._wall_clock()))

    def _seal(self, credentials: LinkCredentials, path: str, now: int) -> str | None:
        key = None if self._keys is None else self._keys.current()
        if key is None:
            return None
        digest = None if credentials.digest is None else credentials.digest.hex()
        content = [path, digest, credentials.token]
        sealed = _cipher(key.secret).encrypt_at_time(orjson.dumps(content), now)
        return f"{key.kid}.{sealed.decode().rstrip('=')}"

    def identify(self, req: falcon.asgi.Request) -> Awaitable[Caller | None]:
        """Returns the caller by the headers or, without credentials there, by the link's token.

        Raises Problem 401, 503; DatabaseUnavailable, Overloaded.
        """
        if req.query_string and req.path.endswith(LINKED) and req.has_param(TOKEN_PARAMETER):
            return self._identify_by_link(req)
        return self.authenticator.identify(req)

    async def _identify_by_link(self, req: falcon.asgi.Request) -> Caller | None:
        if self.authenticator.credentials(req) != Credentials(None, None):
            return await self.authenticator.identify(req)
        opened: LinkCredentials | None = req.scope.get(_OPENED)
        if opened is None:
            opened = req.scope[_OPENED] = self._open(req)
        return await self.authenticator.identify_link(opened.digest, opened.token)

    def _open(self, req: falcon.asgi.Request) -> LinkCredentials:
        """Opens the token of a request. Raises Problem 401."""
        kid, _, sealed = (req.get_param(TOKEN_PARAMETER) or "").partition(".")
        if self._keys is None:
            raise _refused()
        try:
            cipher = _cipher(self._keys.find(kid))
            padded = sealed + "=" * (-len(sealed) % 4)
            content = cipher.decrypt_at_time(padded, LINK_SECONDS, int(self._wall_clock()))
        except (InvalidToken, UnknownKey, ValueError) as error:
            raise _refused() from error
        path, digest, token = orjson.loads(content)
        if path != req.path:
            raise _refused()
        return LinkCredentials(None if digest is None else bytes.fromhex(digest), token)


def _cipher(secret: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hmac.digest(secret, _PURPOSE, "sha256")))


def _refused() -> Problem:
    return invalid_credentials(
        "The token of this link is not valid, or not any more: ask for the submission again, "
        "whose links have a new one.",
        "token_expired",
    )
