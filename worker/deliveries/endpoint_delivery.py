"""Delivers to one endpoint what is due, one message after the other."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from enrollment.domain.codes import DeliveryState
from enrollment.domain.retries import endpoint_pause, retry_delay
from enrollment.domain.webhooks.records import AttemptResult, Delivery, Webhook
from enrollment.runtime.metrics.instruments import WEBHOOK_ATTEMPTS
from enrollment.runtime.outbound.secret_encryption import NoEncryptionKey, SecretEncryption
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.events import events_after
from enrollment.storage.webhooks import deliveries, endpoints
from schemas.webhooks.messages import render_event
from worker.deliveries.attempt import AttemptOutcome, Sender

log = structlog.get_logger()

#: Messages that are sent to an endpoint before the results are stored, in one transaction.
MESSAGES_PER_SLICE = 20
#: Seconds after which a slice begins no further attempt.
SLICE_SECONDS = 5.0
#: Seconds for which an endpoint is leased: longer than a slice with its last attempt.
ENDPOINT_LEASE_SECONDS = 60
#: Seconds for which an endpoint rests whose secret cannot be decrypted here.
NO_KEY_PAUSE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDelivery:
    """Delivers to endpoints; may be used by several threads, each for another endpoint."""

    sessions: Sessions
    sender: Sender
    #: Returns the keys; raises NoEncryptionKey.
    encryption: Callable[[], SecretEncryption]
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random

    def deliver_slice(self, webhook_id: UUID) -> int:
        """Sends what is due until one attempt fails; returns the number of attempts.

        0 if another process sends to the endpoint. Raises DatabaseUnavailable, Conflict.
        """
        with self.sessions.begin() as session:
            now = database_now(session)
            until = now + timedelta(seconds=ENDPOINT_LEASE_SECONDS)
            webhook = endpoints.lease(session, webhook_id, now=now, until=until)
            if webhook is None:
                return 0
            due = deliveries.find_due(session, webhook_id, now=now, limit=MESSAGES_PER_SLICE)
            bodies = {each.id: _body(session, each) for each in due}
        try:
            secrets = self._secrets(webhook, now)
        except NoEncryptionKey as error:
            log.warning("webhook.no_key", webhook=str(webhook_id), because=str(error))
            self._rest(webhook, now)
            return 0
        return self._send_all(webhook, due, bodies, secrets, now)

    def _secrets(self, webhook: Webhook, now: datetime) -> list[str]:
        stored = [webhook.secret]
        if webhook.previous_secret is not None and now < (webhook.previous_until or now):
            stored.append(webhook.previous_secret)
        encryption = self.encryption()
        return [encryption.decrypt(each) for each in stored]

    def _rest(self, webhook: Webhook, now: datetime) -> None:
        not_before = now + timedelta(seconds=NO_KEY_PAUSE)
        with self.sessions.begin() as session:
            endpoints.end_lease(
                session, webhook.id, failures=webhook.failures, not_before=not_before
            )

    def _send_all(
        self,
        webhook: Webhook,
        due: Sequence[Delivery],
        bodies: Mapping[int, bytes],
        secrets: Sequence[str],
        now: datetime,
    ) -> int:
        """Sends messages until one fails or the time is over, then stores the results."""
        start = self.monotonic()
        results: list[AttemptResult] = []
        failures, is_unsubscribed = webhook.failures, False
        for delivery in due:
            elapsed = self.monotonic() - start
            if results and elapsed > SLICE_SECONDS:
                break
            at = now + timedelta(seconds=elapsed)
            message_id, body = str(delivery.message_id), bodies[delivery.id]
            outcome = self.sender.send(webhook.url, message_id, body, secrets, now=at)
            at = now + timedelta(seconds=self.monotonic() - start)
            results.append(self._result(delivery, outcome, at))
            failures = 0 if outcome.error is None else failures + 1
            is_unsubscribed = outcome.is_unsubscribed
            if failures:
                break
        self._store(webhook, results, failures, is_unsubscribed=is_unsubscribed)
        return len(results)

    def _result(self, delivery: Delivery, outcome: AttemptOutcome, at: datetime) -> AttemptResult:
        state, delay = DeliveryState.DELIVERED, None
        if outcome.error is not None:
            delay = retry_delay(
                delivery.attempts + 1, random=self.random(), retry_after=outcome.retry_after
            )
            state = DeliveryState.FAILED if delay is None else DeliveryState.PENDING
        following = None if delay is None else at + timedelta(seconds=delay)
        return AttemptResult(
            delivery.id, state, at, following, outcome.status, outcome.answer, outcome.error
        )

    def _store(
        self,
        webhook: Webhook,
        results: Sequence[AttemptResult],
        failures: int,
        *,
        is_unsubscribed: bool,
    ) -> None:
        with self.sessions.begin() as session:
            now = database_now(session)
            pause = endpoint_pause(failures)
            not_before = now + timedelta(seconds=pause) if pause else None
            endpoints.end_lease(session, webhook.id, failures=failures, not_before=not_before)
            deliveries.record(session, results)
            if is_unsubscribed:
                endpoints.disable(session, webhook.id, "gone", now=now)
                log.warning("webhook.disabled", webhook=str(webhook.id))
        for result in results:
            WEBHOOK_ATTEMPTS.labels(result.state.value).inc()


def _body(session: Session, delivery: Delivery) -> bytes:
    """Returns the bytes of a message, the same in every attempt."""
    if delivery.body is not None or delivery.position is None:
        return (delivery.body or "").encode()
    (event,) = events_after(session, delivery.position - 1, limit=1)
    return render_event(event)
