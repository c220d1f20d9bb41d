"""Delivers to one endpoint what is due: several messages at once, each about another subject."""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from enrollment.domain.codes import DeliveryState
from enrollment.domain.retries import endpoint_pause, retry_delay
from enrollment.domain.webhooks.messages import CHALLENGE, DisabledReason
from enrollment.domain.webhooks.records import AttemptResult, Delivery, Webhook
from enrollment.runtime.metrics.instruments import WEBHOOK_ATTEMPTS
from enrollment.runtime.outbound.secret_encryption import NoEncryptionKey, SecretEncryption
from enrollment.runtime.tracing.span_values import SpanKind
from enrollment.runtime.tracing.spans import describe_answer, open_span
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.webhooks import deliveries, endpoints
from schemas.webhooks.messages import answers_challenge
from worker.deliveries.attempt import AttemptOutcome, Sender
from worker.deliveries.bodies import render_bodies
from worker.deliveries.parallel_sending import EndedAttempt, ParallelSending
from worker.deliveries.trace_links import traceparents_of

log = structlog.get_logger()

#: Messages that are sent to an endpoint before the results are stored, in one transaction; to one
#: whose last attempt failed it is one.
MESSAGES_PER_SLICE = 500
#: Messages that are on their way to one endpoint at once.
IN_FLIGHT = 8
#: Seconds after which a slice begins no further attempt.
SLICE_SECONDS = 5.0
#: Seconds for which an endpoint is leased: longer than a slice with its last attempt.
ENDPOINT_LEASE_SECONDS = 60
#: Seconds for which an endpoint rests whose secret cannot be decrypted here.
NO_KEY_PAUSE = 60


class _Slice(NamedTuple):
    """Messages for an endpoint, and the times from which and until which it is leased."""

    webhook: Webhook
    due: Sequence[Delivery]
    bodies: Mapping[int, bytes]
    #: The contexts of the traces of some, by the delivery's id.
    traceparents: Mapping[int, str]
    secrets: Sequence[str]
    start: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDelivery:
    """Delivers to endpoints; may be used by several threads, each for another endpoint."""

    sessions: Sessions
    sender: Sender
    #: Returns the keys; raises NoEncryptionKey.
    encryption: Callable[[], SecretEncryption]
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    #: Set when no further attempt is to begin, because the process ends.
    stopped: threading.Event = field(default_factory=threading.Event)

    def deliver_slice(self, webhook_id: UUID, *, limit: int | None = None) -> int:
        """Sends what is due until one attempt fails; returns the number of attempts.

        At most `limit` are sent; none if another process sends to the endpoint. Raises
        DatabaseUnavailable, Conflict.
        """
        with self.sessions.begin() as session:
            now = database_now(session)
            until = now + timedelta(seconds=ENDPOINT_LEASE_SECONDS)
            webhook = endpoints.lease(session, webhook_id, now=now, until=until)
            if webhook is None:
                return 0
            due = _find_due(session, webhook, now, limit or MESSAGES_PER_SLICE)
            bodies = render_bodies(session, due)
            traceparents = traceparents_of(session, bodies)
        try:
            secrets = self._secrets(webhook, now)
        except NoEncryptionKey as error:
            log.warning("webhook.no_key", webhook=str(webhook_id), because=str(error))
            self._rest(webhook, now, until)
            return 0
        return self._send_all(_Slice(webhook, due, bodies, traceparents, secrets, now, until))

    def _secrets(self, webhook: Webhook, now: datetime) -> list[str]:
        stored = [webhook.secret]
        if webhook.previous_secret is not None and now < (webhook.previous_until or now):
            stored.append(webhook.previous_secret)
        encryption = self.encryption()
        return [encryption.decrypt(each) for each in stored]

    def _rest(self, webhook: Webhook, now: datetime, until: datetime) -> None:
        not_before = now + timedelta(seconds=NO_KEY_PAUSE)
        with self.sessions.begin() as session:
            endpoints.end_lease(
                session, webhook.id, until, failures=webhook.failures, not_before=not_before
            )

    def _send_all(self, slice_: _Slice) -> int:
        """Sends messages until one fails or the time is over, then stores the results."""
        start = self.monotonic()
        sending = ParallelSending(
            lambda delivery: self._attempt(slice_, delivery, self.monotonic() - start),
            slice_.due,
            elapsed=lambda: self.monotonic() - start,
            seconds=SLICE_SECONDS,
            stopped=self.stopped,
        )
        ended = sending.run(min(IN_FLIGHT, len(slice_.due)))
        self._store(slice_, ended)
        return len(ended)

    def _attempt(self, slice_: _Slice, delivery: Delivery, elapsed: float) -> AttemptOutcome:
        body = slice_.bodies.get(delivery.id)
        if body is None:
            return AttemptOutcome(error="event_missing")
        at = slice_.start + timedelta(seconds=elapsed)
        try:
            outcome = self._send(slice_, delivery, body, at)
            is_challenge = delivery.type == CHALLENGE and outcome.error is None
            return _checked_answer(outcome, body) if is_challenge else outcome
        except Exception:  # one message must not take the results of the others with it
            log.exception("webhook.attempt_failed", webhook=str(slice_.webhook.id))
            return AttemptOutcome(error="internal_error")

    def _send(
        self, slice_: _Slice, delivery: Delivery, body: bytes, at: datetime
    ) -> AttemptOutcome:
        """Sends a message, within the trace of its submission."""
        attributes: dict[str, str | int] = {
            "http.request.method": "POST",
            "server.address": urlsplit(slice_.webhook.url).hostname or "",
            "messaging.message.id": str(delivery.message_id),
            "enroll.webhook_id": str(slice_.webhook.id),
            "enroll.attempt": delivery.attempts + 1,
        }
        parent = slice_.traceparents.get(delivery.id)
        with open_span("send webhook", SpanKind.CLIENT, attributes, parent=parent) as span:
            outcome = self.sender.send(
                slice_.webhook.url, str(delivery.message_id), body, slice_.secrets, now=at
            )
            describe_answer(span, outcome.status, outcome.error)
            return outcome

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

    def _store(self, slice_: _Slice, ended: Sequence[EndedAttempt]) -> None:
        """Stores the results with the end of the lease, in one transaction."""
        webhook, failures, is_unsubscribed = slice_.webhook, slice_.webhook.failures, False
        for each in ended:
            failures = 0 if each.outcome.error is None else failures + 1
            is_unsubscribed |= each.outcome.is_unsubscribed
        results = [
            self._result(
                each.delivery, each.outcome, slice_.start + timedelta(seconds=each.seconds)
            )
            for each in ended
        ]
        with self.sessions.begin() as session:
            now = database_now(session)
            pause = endpoint_pause(failures)
            not_before = now + timedelta(seconds=pause) if pause else None
            endpoints.end_lease(
                session, webhook.id, slice_.until, failures=failures, not_before=not_before
            )
            deliveries.record(session, results)
            for each in ended:
                if each.delivery.type == CHALLENGE and each.outcome.error is None:
                    endpoints.verify(session, webhook.id, webhook.url)
            if is_unsubscribed:
                endpoints.disable(session, webhook.id, DisabledReason.UNSUBSCRIBED, now=now)
                log.warning("webhook.disabled", webhook=str(webhook.id))
        for result in results:
            WEBHOOK_ATTEMPTS.labels(result.state.value).inc()


def _find_due(session: Session, webhook: Webhook, now: datetime, limit: int) -> list[Delivery]:
    """Returns what is sent to an endpoint next: nothing but its challenge until it is verified."""
    if webhook.disabled_reason == DisabledReason.UNVERIFIED:
        return deliveries.find_due_challenge(session, webhook.id, now=now)
    return deliveries.find_due(session, webhook.id, now=now, limit=1 if webhook.failures else limit)


def _checked_answer(outcome: AttemptOutcome, body: bytes) -> AttemptOutcome:
    """Returns the outcome of a challenge: a failure unless its text came back."""
    if answers_challenge(body, outcome.answer or ""):
        return outcome
    return outcome._replace(error="challenge_unanswered")
