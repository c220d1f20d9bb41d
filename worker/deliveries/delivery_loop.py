"""The loop that queues messages for webhooks and sends them, in threads of its own.

Endpoints whose last attempt failed have threads of their own: however many are slow or dead, the
others do not wait for them. Several processes may run the loop: positions are locked and endpoints
leased in the database.
"""

import random
import threading
from functools import partial
from uuid import UUID

import structlog

from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.webhooks import deliveries, endpoints, positions
from worker.background.keyed_threads import KeyedThreads
from worker.background.pace import LONGEST_REST, file_pace
from worker.background.repeating_thread import (
    LoopEvents,
    Pauses,
    RepeatingThread,
    stop_together,
)
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
#: Seconds between two looks for work.
POLL_SECONDS = 0.5

_PAUSES = Pauses(outage=2.0, failure=2.0)
_EVENTS = LoopEvents("webhooks.database_unavailable", "webhooks.step_failed", "webhooks.resumed")


class DeliveryLoop:
    """Queues and sends until it is stopped."""

    def __init__(self, sessions: Sessions, delivery: EndpointDelivery) -> None:
        self._sessions = sessions
        self._delivery = delivery
        self._pace = file_pace(sessions)
        self._stopped = delivery.stopped
        self._work = threading.Event()
        self._loops = [
            RepeatingThread(name, step, _EVENTS, pauses=_PAUSES)
            for name, step in (("fan-out", self._queue_messages), ("deliveries", self._start_due))
        ]
        #: By endpoint; those that fail are a group.
        self._threads = KeyedThreads(self._stopped, self._work.set)

    def start(self) -> None:
        """Starts reading and sending, each in a thread of its own."""
        for loop in self._loops:
            loop.start()

    def request_stop(self) -> None:
        """Lets no further attempt begin. Does not wait for the end of those that are being made."""
        self._stopped.set()
        self._work.set()
        for loop in self._loops:
            loop.request_stop()

    def stop(self) -> None:
        """Stops after the attempts that are being made; those that take too long are left behind.

        Their leases end by themselves, and the messages are sent again.
        """
        self.request_stop()
        stop_together(self._loops)
        self._threads.join()

    def _queue_messages(self) -> float:
        """Reads a slice of the feed, and submissions; rests unless more is left in the feed."""
        with self._pace.step():
            read = read_feed(self._sessions) or 0
            read_submissions(self._sessions)
        if read < EVENTS_PER_SLICE:
            return POLL_SECONDS
        with self._sessions.read() as session:
            age = positions.unread_age(session, positions.FEED)
        return self._pace.rest(age)

    def _start_due(self) -> float:
        """Starts a slice for each endpoint with due deliveries; waits until one ends.

        While files are processed slices are short, with a rest after them.
        """
        self._work.clear()
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
        if must_yield:
            self._stopped.wait(LONGEST_REST)
        else:
            self._work.wait(POLL_SECONDS)
        return 0.0

    def _run_slice(self, webhook_id: UUID, limit: int | None) -> int:
        """Delivers a slice; returns the number of attempts."""
        try:
            return self._delivery.deliver_slice(webhook_id, limit=limit)
        except Exception as error:
            # The lease ends by itself, and the messages are sent again with the same ids.
            log.exception("webhook.slice_failed", webhook=str(webhook_id), because=str(error))
            return 0
