"""The state of one run of deliveries: what is sent and killed, what arrives, and the check of it."""

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from redis import Redis
from sqlalchemy import update
from standardwebhooks.webhooks import Webhook

from api_gateway.audit.verify import verify
from enrollment.domain.errors import EnrollmentError
from enrollment.storage import events
from enrollment.storage.tables import RelayPositionRow, WebhookRow
from tests.fault_lab.checker.deliveries import Arrival, DeliveryRecord, find_faults
from tests.fault_lab.checker.ledger import Mark, read_ledger
from tests.fault_lab.deliveries import entries, rows
from tests.fault_lab.deliveries.clients import Sender, StreamReader
from tests.fault_lab.deliveries.entries import SentMessage
from tests.fault_lab.deliveries.plans import Plan, Target
from tests.fault_lab.fault_injectors.base import FAILPOINTS
from tests.fault_lab.stack.stack import Overrides, Stack
from tests.support.inbound import abandon_pending
from tests.support.webhook_receiver import Received, WebhookReceiver

CALLER = "key:faults"
#: The channels of the relay.
STREAMS = ("stream", "bus")
#: The receivers of webhooks.
HEALTHY, FAILING = "webhook", "failing webhook"
#: Time long past: a lease until then is free.
PAST = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large a run is."""

    #: Requests in all.
    requests: int = 10_000
    #: How often something is killed, and seconds between two kills.
    kills: int = 12
    pause: float = 4.0
    #: Probability in percent that beat dies at a fail point.
    percent: int = 8
    #: Failures of a failing receiver.
    failures: int = 6
    #: Seconds until everything has arrived after healing.
    patience: float = 600.0
    #: After healing, the leases of processes that were killed end at once: a run is shorter.
    ends_leases: bool = False


FULL = Scale()
#: For the tests of every change.
SMALL = Scale(
    requests=300, kills=3, pause=3.0, percent=25, failures=3, patience=60.0, ends_leases=True
)


@dataclass(kw_only=True)
class DeliveryRun:
    """One run, and what its clients saw."""

    plan: Plan
    scale: Scale
    stack: Stack
    random: random.Random
    messages: Sequence[SentMessage]
    sender: Sender
    reader: StreamReader
    webhooks: dict[str, WebhookReceiver] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)

    # --- faults ---------------------------------------------------------------------------

    def overrides(self, *, armed: bool) -> Overrides:
        """Returns the settings of all processes, and the fail points of beat."""
        settings = {
            "ENROLL_REQUEST_STREAM": entries.REQUESTS,
            "ENROLL_EVENT_STREAM": entries.EVENTS,
            "ENROLL_EVENT_BUS": "true",
            "ENROLL_PRIVATE_DESTINATIONS": "true",
            "ENROLL_ENCRYPTION_KEY": "the same for gateways and beats of a run",
        }
        points = ";".join(f"{point}=crash%{self.scale.percent}" for point in self.plan.points)
        return Overrides({"": settings, "beat": {FAILPOINTS: points if armed else ""}}, beats=2)

    def send_and_kill(self) -> None:
        """Sends a part of the messages before each kill."""
        parts = self.scale.kills + 1
        size = -(-len(self.messages) // parts)
        for number in range(parts):
            part = self.messages[number * size : (number + 1) * size]
            sending = threading.Thread(target=self.sender.send, args=(part,))
            sending.start()
            if number < self.scale.kills:
                time.sleep(self.random.uniform(0.2, 1.0))
                self._kill(self.plan.targets[number % len(self.plan.targets)])
                time.sleep(self.scale.pause)
            sending.join()

    def _kill(self, target: Target) -> None:
        if target is Target.REDIS:
            self.stack.redis.kill()
            time.sleep(self.random.uniform(0.1, 1.0))
            self.stack.redis.start()
        else:
            some = self.stack.beats if target is Target.BEAT else self.stack.workers
            if not self.random.choice(some).kill():
                return
        self.killed.append(target)

    def heal(self) -> None:
        """Starts beats that do not die."""
        self.stack.apply_overrides(self.overrides(armed=False))
        if self.scale.ends_leases:  # all beats are dead, and the new ones have other names
            self._end_leases()
        self.stack.until_ready()

    def _end_leases(self) -> None:
        with self.stack.sessions.begin() as session:
            session.execute(update(RelayPositionRow).values(held_until=PAST))
            session.execute(update(WebhookRow).values(leased_until=None))
        with Redis.from_url(self.stack.redis.url) as redis:
            abandon_pending(redis, entries.REQUESTS)

    # --- what came of it ------------------------------------------------------------------

    def is_complete(self) -> bool:
        """Returns whether every message has a reply, and every change came on every channel."""
        if not self.stack.is_settled():
            return False
        try:
            with self.stack.sessions.read() as session:
                changes = events.last_position(session)
        except EnrollmentError:
            return False
        replied = {reply.request for reply in list(self.reader.replies)}
        return len(replied) >= len(self.messages) and all(
            len(ids) >= changes for ids in self._arrived_ids()
        )

    def _arrived_ids(self) -> Iterator[set[str]]:
        """Yields the ids that arrived so far, of each channel."""
        for name in STREAMS:
            yield {one.id for one in list(self.reader.arrivals[name])}
        for receiver in self.webhooks.values():
            yield {one.headers["webhook-id"] for one in list(receiver.received)}

    def _arrivals(self) -> dict[str, Sequence[Arrival]]:
        """Returns what arrived at each channel so far."""
        found: dict[str, Sequence[Arrival]] = {
            name: list(self.reader.arrivals[name]) for name in STREAMS
        }
        for name, receiver in self.webhooks.items():
            found[name] = [
                entries.webhook_arrival(one.headers, one.body) for one in list(receiver.received)
            ]
        return found

    def faults(self) -> Iterator[str]:
        """Yields everything that is wrong."""
        ledger = read_ledger(self.stack.sessions, Mark())
        record = DeliveryRecord(
            changes=rows.changes_of(ledger),
            arrivals=self._arrivals(),
            requests={message.id: len(message.requests) for message in self.messages},
            stored=rows.results_of(ledger, CALLER),
            replies=self.reader.replies,
        )
        yield from rows.row_faults(ledger)
        yield from find_faults(record)
        yield from map(str, verify(self.stack.sessions).violations)
        for name, receiver in self.webhooks.items():
            wrong = sum(not _is_signed(one, self.secrets[name]) for one in receiver.received)
            if wrong:
                yield f"{name}: {wrong} messages without a valid signature"

    def witnesses(self) -> Mapping[str, int]:
        """Returns how often each fault took effect."""
        found = {str(target): self.killed.count(target) for target in self.plan.targets}
        logs = "".join(one.log() for one in self.stack.beats)
        found |= {str(point): _reached(logs, point) for point in self.plan.points}
        if self.plan.has_failing_receiver:
            failing = self.webhooks[FAILING].received
            again = len(failing) - len({one.headers["webhook-id"] for one in failing})
            found["webhooks sent again"] = again
        return found


def _is_signed(message: Received, secret: str) -> bool:
    """Returns whether a signature fits; unlike a receiver, whenever the message came."""
    id_, timestamp, signatures = (
        message.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
    )
    at = datetime.fromtimestamp(int(timestamp), UTC)
    return Webhook(secret).sign(id_, at, message.body.decode()) in signatures.split(" ")


def _reached(logs: str, point: str) -> int:
    return sum("failpoint.reached" in line and point in line for line in logs.splitlines())
