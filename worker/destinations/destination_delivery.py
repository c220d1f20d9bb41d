"""Delivers to one destination what is due: a slice under a lease, and its results."""

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from enrollment.domain.codes import DeliveryState
from enrollment.domain.destinations.deliveries import (
    SETTLE_SECONDS,
    SentState,
    StoredDestination,
)
from enrollment.domain.retries import MAX_RETRY_AFTER, endpoint_pause, retry_delay
from enrollment.runtime.metrics.instruments import DESTINATION_ATTEMPTS
from enrollment.runtime.outbound.secret_encryption import NoEncryptionKey
from enrollment.runtime.tracing.spans import ACTIVE
from enrollment.storage.destinations import deliveries, registry
from enrollment.storage.destinations.deliveries import DueState
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.views import trace_contexts
from worker.destinations.clients import DestinationClients, UnknownKind
from worker.destinations.send_slice import AttemptedState, SendSlice

log = structlog.get_logger()

#: States that are sent by each of the connections of a destination in one slice.
STATES_PER_CONNECTION = 25
#: Seconds for which a destination is leased: longer than a slice with its last attempts.
DESTINATION_LEASE_SECONDS = 120
#: Seconds for which a destination rests that this process cannot talk to.
_UNUSABLE_PAUSE = 60.0
#: Longest text of an error that is stored.
_MAX_ERROR = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationDelivery:
    """Delivers to destinations; may be used by several threads, each for another destination."""

    sessions: Sessions
    clients: DestinationClients
    random: Callable[[], float] = random.random
    stopped: threading.Event = field(default_factory=threading.Event)

    def deliver_slice(self, destination_id: UUID, *, limit: int | None = None) -> int:
        """Sends what is due until an attempt fails for now; returns the number of attempts.

        At most `limit` are made; none if another process sends to the destination. Raises
        DatabaseUnavailable, Conflict.
        """
        with self.sessions.begin() as session:
            now = database_now(session)
            until = now + timedelta(seconds=DESTINATION_LEASE_SECONDS)
            stored = registry.lease(session, destination_id, now=now, until=until)
            if stored is None:
                return 0
            most = limit or STATES_PER_CONNECTION * stored.destination.concurrency
            due = deliveries.find_due(session, destination_id, now=now, limit=most)
            traceparents = _traceparents(session, due)
        try:
            client = self.clients.find(stored)
        except (NoEncryptionKey, UnknownKind) as error:
            name = stored.destination.name
            log.warning("destination.unusable", destination=name, because=str(error))
            self._store(stored, [], _UNUSABLE_PAUSE, until)
            return 0
        send = SendSlice(
            destination=stored.destination,
            client=client,
            due=deque(due),
            traceparents=traceparents,
            stopped=self.stopped,
        )
        attempted = send.run()
        self._store(stored, attempted, send.next_slot - send.elapsed, until)
        return len(attempted)

    def _store(
        self,
        stored: StoredDestination,
        attempted: Sequence[AttemptedState],
        pause: float,
        until: datetime,
    ) -> None:
        """Stores the results, and ends the lease.

        If it has ended by itself, another process may have sent later states before these arrived:
        the current ones are sent once more.
        """
        failures, longest = _rest_of(stored, attempted)
        rest = max(pause, longest)
        with self.sessions.begin() as session:
            now = database_now(session)
            not_before = now + timedelta(seconds=rest) if rest > 0 else None
            is_ours = registry.end_lease(
                session, stored.id, failures=failures, not_before=not_before, until=until
            )
            results = [self._sent(each, now) for each in attempted]
            if is_ours:
                deliveries.record(session, results)
            else:
                deliveries.send_again(session, [each.delivery_id for each in results], at=now)
        for result in results:
            DESTINATION_ATTEMPTS.labels(result.state.value).inc()
        if not is_ours:
            log.warning("destination.lease_lost", destination=stored.destination.name)

    def _sent(self, attempted: AttemptedState, now: datetime) -> SentState:
        (delivery, _), _, result = attempted
        state, delay = DeliveryState.DELIVERED, None
        if attempted.must_rest:
            delay = retry_delay(
                delivery.attempts + 1,
                random=self.random(),
                retry_after=max(result.retry_after, SETTLE_SECONDS * result.may_follow),
            )
        if result.error is not None:
            state = DeliveryState.FAILED if delay is None else DeliveryState.PENDING
        return SentState(
            delivery.id,
            delivery.version,
            delivery.position,
            state,
            now,
            None if delay is None else now + timedelta(seconds=delay),
            result.status,
            result.answer,
            None if result.error is None else result.error[:_MAX_ERROR],
        )


def _traceparents(session: Session, due: Sequence[DueState]) -> dict[int, str]:
    """Returns the contexts of the changes to send, by position; none while traces are off."""
    if ACTIVE.recorder is None:
        return {}
    found = trace_contexts.at_positions(session, {each.delivery.position for each in due})
    return {position: each.traceparent for position, each in found.items()}


def _rest_of(stored: StoredDestination, attempted: Sequence[AttemptedState]) -> tuple[int, float]:
    """Returns the slices in a row in which nothing arrived, and the seconds of rest after them."""
    failed = [each.result.retry_after for each in attempted if each.must_rest]
    if not failed:
        return 0, 0.0
    failures = stored.failures + 1 if len(failed) == len(attempted) else 1
    return failures, max(endpoint_pause(failures), min(max(failed), MAX_RETRY_AFTER))
