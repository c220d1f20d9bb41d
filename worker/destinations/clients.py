"""The clients of destinations, made once and used until a destination is changed."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import httpx
import orjson

from enrollment.domain.destinations.deliveries import StoredDestination
from enrollment.domain.destinations.records import Auth
from enrollment.runtime.outbound.secret_encryption import SecretEncryption
from worker.destinations.kinds import KINDS
from worker.destinations.protocol import DestinationKind, KindFactory


class UnknownKind(Exception):
    """This release has no client for the kind of a destination."""


@dataclass(slots=True, kw_only=True)
class DestinationClients:
    """Makes the clients of destinations, and stores them with their tokens and connections."""

    http: httpx.Client
    #: Returns the keys; raises NoEncryptionKey.
    encryption: Callable[[], SecretEncryption]
    kinds: Mapping[str, KindFactory] = field(default_factory=lambda: KINDS)
    _made: dict[UUID, tuple[tuple[object, ...], DestinationKind]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, stored: StoredDestination) -> DestinationKind:
        """Returns the client of a destination as it is now. Raises NoEncryptionKey, UnknownKind."""
        destination = stored.destination
        edition = (destination.kind, destination.url, stored.auth)
        with self._lock:
            known, client = self._made.get(stored.id, (None, None))
            if client is not None and known == edition:
                return client
            made = self._make(stored)
            self._made[stored.id] = edition, made
        if client is not None:
            client.close()
        return made

    def _make(self, stored: StoredDestination) -> DestinationKind:
        factory = self.kinds.get(stored.destination.kind)
        if factory is None:
            message = f"there is no client for destinations of kind {stored.destination.kind}"
            raise UnknownKind(message)
        auth = decode_auth(self.encryption().decrypt(stored.auth))
        return factory(stored.destination, auth, self.http)

    def close(self) -> None:
        """Closes every client."""
        with self._lock:
            clients = [client for _, client in self._made.values()]
            self._made.clear()
        for client in clients:
            client.close()


def decode_auth(text: str) -> Auth:
    """Returns the credentials in the decrypted form of the stored ones."""
    return Auth(**orjson.loads(text))
