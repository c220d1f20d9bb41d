"""The loop that queues messages for webhooks and sends them, in threads of its own.

Endpoints whose last attempt failed have threads of their own: however many are slow or dead, the
others do not wait for them. Several processes may run the loop: positions are locked and endpoints
leased in the database.
"""

import random
from functools import partial
from uuid import UUID

import structlog

from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.webhooks import deliveries, endpoints, positions
from worker.background.repeating_thread import LoopEvents
from worker.background.sending_loop import SendingLoop
from worker.deliveries.endpoint_delivery import IN_FLIGHT, EndpointDelivery
from worker.deliveries.fan_out import EVENTS_PER_SLICE, read_feed, read_submissions

log = structlog.get_logger()

#: Threads for endpoints that work, and for those whose last attempt failed.
HEALTHY_THREADS, FAILING_THREADS = 16, 8
#: Connections to endpoints: as many as may be in use at once, so that no attempt waits for one.
MAX_OUTBOUND_CONNECTIONS = HEALTHY_THREADS * IN_FLIGHT + FAILING_THREADS
#: Connections to the database: attempts hold none while they wait for an answer.
DELIVERY_CONNECTIONS = 4
#: Messages of a slice while files are processed: the next one comes after a rest.
YIELDING_SLICE = 20


class DeliveryLoop(SendingLoop):
    """Queues messages and sends them to webhooks."""

    names = ("fan-out", "deliveries")
    events = LoopEvents("webhooks.database_unavailable", "webhooks.step_failed", "webhooks.resumed")
    source = positions.FEED

    def __init__(self, sessions: Sessions, delivery: EndpointDelivery) -> None:
        super().__init__(sessions, delivery.stopped)
        self._delivery = delivery

    def read_slice(self) -> bool:
        """Reads a slice of the feed, and submissions; returns if more is left in the feed."""
        read = read_feed(self._sessions) or 0
        read_submissions(self._sessions)
        return read >= EVENTS_PER_SLICE

    def start_due(self) -> bool:
        """Starts a slice for each endpoint with due deliveries, a short one if it must wait."""
        with self._sessions.read() as session:
            now = database_now(session)
            due = endpoints.find_due(session, now=now)
            age = deliveries.load_pending(session).age(now) if due else 0.0
        must_yield = bool(due) and self._pace.must_yield(age)
        random.shuffle(due)  # if there are more endpoints than threads, each has its turn
        limit = YIELDING_SLICE if must_yield else None
        for webhook_id, is_failing in due:
            self._threads.start(
                webhook_id,
                partial(self._run_slice, webhook_id, limit),
                most=FAILING_THREADS if is_failing else HEALTHY_THREADS,
                group=is_failing,
            )
        return must_yield

    def _run_slice(self, webhook_id: UUID, limit: int | None) -> int:
        """Delivers a slice; returns the number of attempts."""
        try:
            return self._delivery.deliver_slice(webhook_id, limit=limit)
        except Exception as error:
            # The lease ends by itself, and the messages are sent again with the same ids.
            log.exception("webhook.slice_failed", webhook=str(webhook_id), because=str(error))
            return 0
