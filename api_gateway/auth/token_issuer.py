"""Gives access tokens to OAuth clients (RFC 6749, client credentials)."""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from api_gateway.auth.jwt_tokens import sign_token
from api_gateway.auth.oauth_clients import OAuthClients
from api_gateway.auth.signing.shared_key import SharedSigningKey
from api_gateway.http.problems import unavailable

#: Seconds for which a token is valid, unless ENROLL_JWT_MAX_LIFETIME is shorter.
TOKEN_LIFETIME_SECONDS = 3_600
#: Every token has all of them; they are the names that Open edX uses.
TOKEN_SCOPES = ("read", "write", "profile", "email")
#: Seconds after which a client may ask again while there is no signing key.
NO_KEY_RETRY_SECONDS = 30


class AccessToken(NamedTuple):
    """A signed token and the seconds for which it is valid."""

    text: str
    expires_in: int


class TokenIssuer:
    """Authenticates clients and signs their tokens. Belongs to one event loop."""

    def __init__(
        self,
        clients: OAuthClients,
        key: SharedSigningKey,
        *,
        max_lifetime: int,
        now: Callable[[], datetime],
    ) -> None:
        self._clients = clients
        self._key = key
        self._lifetime = min(TOKEN_LIFETIME_SECONDS, max_lifetime)
        self._now = now

    async def issue(self, client_id: str, candidates: Sequence[str]) -> AccessToken | None:
        """Returns a token for the client's user; None if no candidate is the client's secret.

        Raises Problem 503 without a signing key; DatabaseUnavailable, Overloaded.
        """
        key = await self._key.current()
        if key is None:
            raise unavailable(self._key.missing, retry_after=NO_KEY_RETRY_SECONDS)
        client = await self._clients.authenticate(client_id, candidates)
        if client is None:
            return None
        email = await self._clients.register_user(client)
        text = sign_token(
            key,
            client.username,
            email=email,
            staff=client.is_staff,
            minutes=self._lifetime / 60,
            now=self._now(),
            more={
                "client_id": client.client_id,
                "scope": " ".join(TOKEN_SCOPES),
                "jti": secrets.token_urlsafe(16),
            },
        )
        return AccessToken(text, self._lifetime)
