"""OAuth clients: those of ENROLL_OAUTH_CLIENTS and those of the database, and their secrets."""

import hmac
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from api_gateway.auth.api_keys import digest_of
from api_gateway.auth.cached_lookup import CachedLookup, Found
from api_gateway.auth.key_usage import KeyUsage
from api_gateway.database import Database
from enrollment.runtime.settings import Settings, SettingsError
from enrollment.storage.credentials import oauth_clients
from schemas.fields import parse_username
from schemas.identity.damaged_ids import is_damaged_id

#: Prefix of our secrets, so that people and secret scanners recognize them.
SECRET_PREFIX = "ens_"  # noqa: S105 (no secret)
#: Seconds for which a client is cached, so a revocation takes effect after them.
CLIENT_CACHE_SECONDS = 2.0
MAX_CACHED_CLIENTS = 1_000

_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,255}")
#: Stands for the hash of an unknown client; no text has it.
_NO_DIGEST = bytes(32)


class ClientNameRefused(ValueError):
    """A client of that name cannot be created; the message says what to do."""


class ClientIdTaken(ClientNameRefused):
    """There is or was a client with that id; the message says what to do."""


class NewClient(NamedTuple):
    """A client that was created, and its secret, which is stored nowhere."""

    number: int
    client_id: str
    username: str
    secret: str


class Client(NamedTuple):
    """A client that may have tokens, which are those of its user."""

    client_id: str
    username: str
    is_staff: bool
    digest: bytes
    #: The number in the database; None for a client of the settings.
    number: int | None = None


def new_client_secret() -> tuple[str, bytes]:
    """Generates a secret of 256 random bits; returns it with its hash."""
    text = SECRET_PREFIX + secrets.token_urlsafe(32)
    return text, digest_of(text)


def check_client(client_id: str, username: str) -> str:
    """Returns the username in its canonical form. Raises ClientNameRefused."""
    if not _CLIENT_ID.fullmatch(client_id):
        message = (
            f"{client_id!r} cannot be the id of a client: it must be 1 to 255 letters a to z, "
            "digits, dots, hyphens and underscores."
        )
        raise ClientNameRefused(message)
    parsed = None if is_damaged_id(username) else parse_username(username)
    if parsed is None:
        message = f"{username!r} is not a valid username."
        raise ClientNameRefused(message)
    return parsed


def create_client(
    session: Session,
    client_id: str,
    username: str,
    *,
    is_staff: bool,
    configured: Collection[str],
    now: datetime,
) -> NewClient:
    """Creates a client, and registers its user as a learner.

    `configured` are the ids of clients in the settings, which have priority. Raises ClientIdTaken,
    ClientNameRefused.
    """
    if client_id in configured:
        message = f"ENROLL_OAUTH_CLIENTS has a client {client_id} already: choose another name."
        raise ClientIdTaken(message)
    username = check_client(client_id, username)
    secret, digest = new_client_secret()
    number = oauth_clients.add(
        session,
        client_id=client_id,
        digest=digest,
        username=username,
        is_staff=is_staff,
        now=now,
    )
    if number is None:
        message = (
            f"There is or was a client {client_id}, and an id is never given again: choose another "
            "name. To change a secret, create a client with another name, then revoke this one."
        )
        raise ClientIdTaken(message)
    oauth_clients.register_user(session, username, is_staff=is_staff)
    return NewClient(number, client_id, username, secret)


def configured_clients(settings: Settings) -> dict[str, Client]:
    """Returns the clients of ENROLL_OAUTH_CLIENTS by id. Raises SettingsError for a username."""
    clients = {}
    for number, given in enumerate(settings.oauth_clients, 1):
        username = None if is_damaged_id(given.username) else parse_username(given.username)
        if username is None:
            message = (  # without the text, which is a secret where parts are interchanged
                f"ENROLL_OAUTH_CLIENTS: the third part of entry {number} is not a valid username"
            )
            raise SettingsError(message)
        digest = digest_of(given.secret)
        clients[given.client_id] = Client(given.client_id, username, given.is_staff, digest)
    return clients


class OAuthClients:
    """Finds and authenticates clients. Belongs to one event loop."""

    def __init__(
        self,
        database: Database,
        configured: Mapping[str, Client],
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        """`clock` is monotonic, `wall_clock` in seconds since 1970."""
        self._database = database
        self._configured = configured
        self._usage = KeyUsage(database, wall_clock, record=oauth_clients.record_use)
        self._stored = CachedLookup(
            self._load_in_use,
            seconds=CLIENT_CACHE_SECONDS,
            clock=clock,
            max_entries=MAX_CACHED_CLIENTS,
        )

    async def find(self, client_id: str) -> Found[Client | None]:
        """Returns the client, None if it is unknown or revoked. Raises DatabaseUnavailable.

        The result must not be used after its time.
        """
        configured = self._configured.get(client_id)
        if configured is not None:
            return Found(configured, float("inf"))
        return await self._stored.get(client_id)

    async def authenticate(self, client_id: str, candidates: Sequence[str]) -> Client | None:
        """Returns the client if one of the texts is its secret.

        An unknown client costs the same query and comparisons as a wrong secret, and so does one of
        the settings. Raises DatabaseUnavailable, Overloaded.
        """
        stored = await self._load(client_id)
        client = self._configured.get(client_id, stored)
        digest = _NO_DIGEST if client is None else client.digest
        matches = [hmac.compare_digest(digest, digest_of(text)) for text in candidates]
        if client is None or not any(matches):
            return None
        self._note_use(client)
        return client

    async def register_user(self, client: Client) -> str | None:
        """Registers the client's user as a learner; returns the e-mail, if it is known."""
        return await self._database.write(
            oauth_clients.register_user, client.username, is_staff=client.is_staff
        )

    async def register_configured_users(self) -> None:
        """Registers the users of the settings' clients as learners."""
        for client in self._configured.values():
            await self.register_user(client)

    async def _load(self, client_id: str) -> Client | None:
        row = await self._database.read(oauth_clients.find, client_id)
        if row is None:
            return None
        return Client(row.client_id, row.username, row.is_staff, row.digest, row.id)

    async def _load_in_use(self, client_id: str) -> Client | None:
        """Returns the client of a token that is used now."""
        client = await self._load(client_id)
        if client is not None:
            self._note_use(client)
        return client

    def _note_use(self, client: Client) -> None:
        if client.number is not None:
            self._usage.note(client.number)
