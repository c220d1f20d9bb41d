"""The clients of destinations, made once and used until a destination is changed."""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
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


class _Made(NamedTuple):
    """A client, its HTTP client, and the destination for which they were made."""

    edition: tuple[object, ...]
    client: DestinationKind
    http: httpx.Client

    def close(self) -> None:
        self.client.close()
        self.http.close()


@dataclass(slots=True, kw_only=True)
class DestinationClients:
    """Makes the clients of destinations, and stores them with their tokens and connections."""

    #: Makes a guarded HTTP client with a number of connections: destinations share none, so that
    #: a slow one does not take those of others.
    make_http: Callable[[int], httpx.Client]
    #: Returns the keys; raises NoEncryptionKey.
    encryption: Callable[[], SecretEncryption]
    kinds: Mapping[str, KindFactory] = field(default_factory=lambda: KINDS)
    _made: dict[UUID, _Made] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, stored: StoredDestination) -> DestinationKind:
        """Returns the client of a destination as it is now. Raises NoEncryptionKey, UnknownKind.

        The client before a change is closed: the caller has the lease, so no other thread uses it.
        """
        destination = stored.destination
        edition = (destination.kind, destination.url, stored.auth, destination.concurrency)
        with self._lock:
            known = self._made.get(stored.id)
        if known is not None and known.edition == edition:
            return known.client
        made = self._make(stored, edition)
        with self._lock:
            self._made[stored.id] = made
        if known is not None:
            known.close()
        return made.client

    def _make(self, stored: StoredDestination, edition: tuple[object, ...]) -> _Made:
        factory = self.kinds.get(stored.destination.kind)
        if factory is None:
            message = f"there is no client for destinations of kind {stored.destination.kind}"
            raise UnknownKind(message)
        auth = decode_auth(self.encryption().decrypt(stored.auth))
        http = self.make_http(stored.destination.concurrency)
        return _Made(edition, factory(stored.destination, auth, http), http)

    def close_others(self, kept: Collection[UUID]) -> None:
        """Closes the clients of all destinations but these; no thread may use one of them."""
        with self._lock:
            closed = [self._made.pop(each) for each in self._made.keys() - set(kept)]
        for made in closed:
            made.close()

    def close(self) -> None:
        """Closes every client."""
        self.close_others(())


def decode_auth(text: str) -> Auth:
    """Returns the credentials in the decrypted form of the stored ones."""
    return Auth(**orjson.loads(text))
