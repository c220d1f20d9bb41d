"""Destinations in a database, a scripted client in place of a system, and what sends to it."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
from sqlalchemy import update

from enrollment.domain.codes import DeliveryState
from enrollment.domain.destinations.deliveries import StateDelivery, StoredDestination
from enrollment.domain.destinations.records import (
    ApplyResult,
    Auth,
    Destination,
    RemoteCourse,
    StatesPage,
    WantedState,
)
from enrollment.runtime.outbound.secret_encryption import SecretEncryption
from enrollment.storage.destinations import deliveries, registry
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.tables import DestinationDeliveryRow, DestinationRow
from worker.destinations.clients import DestinationClients
from worker.destinations.destination_delivery import DestinationDelivery
from worker.destinations.fan_out import read_changes

ENCRYPTION = SecretEncryption(["k" * 32])
ARRIVED = ApplyResult(200, "{}")

#: Answers one state.
Answer = Callable[[WantedState], ApplyResult]


class ScriptedKind:
    """A client that records what is sent; `answers` are taken one after the other, then `else_`."""

    def __init__(self, answers: Iterable[ApplyResult | Answer] = (), else_: Answer | None = None):
        self.sent: list[WantedState] = []
        self.answers = list(answers)
        self.else_ = else_ or (lambda _: ARRIVED)
        self.auth: Auth | None = None
        self.closed = 0
        self.most_at_once = self._now = 0
        self._lock = threading.Lock()

    def apply(self, state: WantedState) -> ApplyResult:
        with self._lock:
            self.sent.append(state)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            answer = self.answers.pop(0) if self.answers else self.else_
        try:
            return answer if isinstance(answer, ApplyResult) else answer(state)
        finally:
            with self._lock:
                self._now -= 1

    def list_pages(
        self, courses: Sequence[str], *, place: str | None = None
    ) -> Iterator[StatesPage]:
        return iter(())

    def read_courses(self) -> Iterator[RemoteCourse]:
        return iter(())

    def close(self) -> None:
        self.closed += 1


class Destinations:
    """Destinations of one database, each with a scripted client. Time goes on when a test says so."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.kinds: dict[str, ScriptedKind] = {}
        self.delivery = self.another_process()

    def another_process(self) -> DestinationDelivery:
        """Returns another one that sends."""
        clients = DestinationClients(
            make_http=lambda _: httpx.Client(),
            encryption=lambda: ENCRYPTION,
            kinds={"openedx": self._make},
        )
        return DestinationDelivery(sessions=self.sessions, clients=clients, random=lambda: 0.5)

    def _make(self, destination: Destination, auth: Auth, _: httpx.Client) -> ScriptedKind:
        self.kinds[destination.name].auth = auth
        return self.kinds[destination.name]

    def add(
        self, name: str = "lms", kind: ScriptedKind | None = None, **more: object
    ) -> StoredDestination:
        """Adds or replaces a destination."""
        self.kinds[name] = kind or ScriptedKind()
        members: dict[str, object] = {
            "kind": "openedx",
            "url": "https://lms.example.org",
            "courses": frozenset(),
            "concurrency": 1,
            "requests_per_second": None,
            "is_paused": False,
            "pull_courses_every": None,
            **more,
        }
        destination = Destination(name, **members)  # type: ignore[arg-type]
        with self.sessions.begin() as session:
            auth = ENCRYPTION.encrypt('{"api_key": "secret"}')
            now = datetime.now(UTC)
            stored, _ = registry.put(session, destination, auth, destination_id=uuid4(), now=now)
        assert stored is not None
        return stored

    def use(self, name: str, kind: ScriptedKind) -> StoredDestination:
        """Returns a destination that was added elsewhere, which gets a client."""
        self.kinds[name] = kind
        with self.sessions.begin() as session:
            auth = ENCRYPTION.encrypt('{"api_key": "secret"}')
            row = DestinationRow
            session.execute(update(row).where(row.name == name).values(auth=auth))
            stored = registry.find(session, name)
        assert stored is not None
        return stored

    def read_all(self) -> None:
        """Queues what is in the feed."""
        while read_changes(self.sessions):
            continue

    def deliver(self, stored: StoredDestination) -> int:
        """Sends a slice; returns the number of attempts."""
        return self.delivery.deliver_slice(stored.id)

    def make_due(self) -> None:
        """Lets the waiting time of destinations and of their deliveries be over, and each lease."""
        with self.sessions.begin() as session:
            session.execute(update(DestinationRow).values(not_before=None, leased_until=None))
            past = datetime.now(UTC) - timedelta(days=1)
            row = DestinationDeliveryRow
            is_pending = row.state == DeliveryState.PENDING.value
            session.execute(update(row).where(is_pending).values(next_attempt_at=past))

    def log(
        self, stored: StoredDestination, state: DeliveryState | None = None
    ) -> list[StateDelivery]:
        """Returns the deliveries, oldest first."""
        with self.sessions.read() as session:
            found = deliveries.page(session, stored.id, state=state, before=None, limit=1_000)
        return found[::-1]
