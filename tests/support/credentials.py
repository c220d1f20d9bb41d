"""An authenticator on a real database, and every way of presenting credentials."""

import asyncio
from datetime import UTC, datetime

import pytest
from falcon import testing

from api_gateway.auth import api_keys, jwt_tokens
from api_gateway.auth.authentication import Authenticator
from api_gateway.auth.signing_keys import SigningKey
from api_gateway.database import Database
from api_gateway.http.problems import Problem
from enrollment.runtime.settings import Settings
from enrollment.storage.credentials import api_keys as credentials_api_keys

SECRET = b"s" * 32
SIGNING_KEY = SigningKey.of(SECRET)
EDX_KEY = "what you like, even: this.one"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class CountingRecords(Database):
    """Sessions that count the queries, not the writes."""

    asked = 0

    async def read(self, query, *args, **kwargs):
        self.asked += 1
        return await super().read(query, *args, **kwargs)


class CredentialTester:
    """An authenticator with manual clocks, and credentials for it."""

    def __init__(self, sessions, *, bound=1000, **settings):
        self.sessions = sessions
        self.now = 1000.0
        self.wall = NOW.timestamp()
        self.records = CountingRecords(sessions)
        given = {
            "database_url": "",
            "redis_url": "",
            "broker_url": "",
            "edx_api_key": EDX_KEY,
            "signing_key": SECRET.decode(),
        }
        self.authenticator = Authenticator(
            self.records,
            Settings(**(given | settings)),
            lambda: self.now,
            wall_clock=lambda: self.wall,
            max_cached=bound,
        )

    def key(self, *scopes, name="sis", expires_at=None):
        text, digest = api_keys.new_api_key()
        with self.sessions.begin() as session:
            credentials_api_keys.add(
                session,
                name=name,
                scopes=frozenset(scopes),
                digest=digest,
                now=NOW,
                expires_at=expires_at,
            )
        return text

    def revoke_all(self):
        with self.sessions.begin() as session:
            for key in credentials_api_keys.all_keys(session):
                credentials_api_keys.revoke(session, key.id, now=NOW)

    def see(self, *headers):
        return asyncio.run(self._identify(*headers))

    async def _identify(self, *headers):
        """Identifies the caller, and waits for what is recorded beside it."""
        try:
            return await self.authenticator.identify(a_request(*headers))
        finally:
            while writing := self.authenticator._usage._writing:
                await asyncio.wait([writing])
                await asyncio.sleep(0)

    def is_believed(self, token):
        try:
            return self.see(jwt_header(token)) is not None
        except Problem:
            return False

    def refusal(self, *headers):
        with pytest.raises(Problem) as refusal:
            self.see(*headers)
        return refusal.value


def a_request(*headers):
    return testing.create_asgi_req(headers=list(headers))


def signed(name="ada", *, minutes=60, email=None, staff=False):
    return jwt_tokens.sign_token(
        SIGNING_KEY, name, minutes=minutes, email=email, staff=staff, now=NOW
    )


def edx_header(key=EDX_KEY):
    return ("X-Edx-Api-Key", key)


def jwt_header(text):
    return ("Authorization", f"JWT {text}")


def bearer(text):
    return ("Authorization", f"Bearer {text}")
