"""The loop that queues messages for webhooks and sends them, in threads of its own.

Endpoints whose last attempt failed have threads of their own: however many are slow or dead, the
others do not wait for them. Several processes may run the loop: positions are locked and endpoints
leased in the database.
"""

import random
import threading
from collections.abc import Callable
from uuid import UUID

import structlog

from enrollment.domain.errors import Conflict, DatabaseUnavailable
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.webhooks import endpoints
from worker.deliveries.endpoint_delivery import IN_FLIGHT, EndpointDelivery
from worker.deliveries.fan_out import EVENTS_PER_SLICE, read_feed, read_submissions

log = structlog.get_logger()

#: Threads for endpoints that work, and for those whose last attempt failed.
HEALTHY_THREADS, FAILING_THREADS = 16, 8
#: Connections to endpoints: as many as may be in use at once, so that no attempt waits for one.
MAX_OUTBOUND_CONNECTIONS = HEALTHY_THREADS * IN_FLIGHT + FAILING_THREADS
#: Connections to the database: attempts hold none while they wait for an answer.
DELIVERY_CONNECTIONS = 4
#: Seconds between two looks for work, and after a failure of the database.
POLL_SECONDS, OUTAGE_SECONDS = 0.5, 2.0


class DeliveryLoop:
    """Queues and sends until it is stopped."""

    def __init__(self, sessions: Sessions, delivery: EndpointDelivery) -> None:
        self._sessions = sessions
        self._delivery = delivery
        self._stopped = threading.Event()
        self._work = threading.Event()
        self._threads: list[threading.Thread] = []
        #: Threads that send, by endpoint, and whether it is one that fails.
        self._running: dict[UUID, tuple[threading.Thread, bool]] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Starts reading and sending, each in a thread of its own."""
        for name, step in {"fan-out": self._queue_messages, "deliveries": self._start_due}.items():
            thread = threading.Thread(target=self._repeat, args=(step,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stops after the attempts that are being made."""
        self._stopped.set()
        self._work.set()
        for thread in self._threads:
            thread.join()
        with self._lock:
            running = [thread for thread, _ in self._running.values()]
        for thread in running:
            thread.join()

    def _repeat(self, step: Callable[[], bool]) -> None:
        """Repeats a step until the loop is stopped; rests when there was nothing to do."""
        while not self._stopped.is_set():
            try:
                rest = 0.0 if step() else POLL_SECONDS
            except (Conflict, DatabaseUnavailable) as error:
                log.info("webhooks.database_unavailable", because=str(error))
                rest = OUTAGE_SECONDS
            except Exception:
                log.exception("webhooks.step_failed")
                rest = OUTAGE_SECONDS
            self._stopped.wait(rest)

    def _queue_messages(self) -> bool:
        """Reads a slice of the feed, and submissions; returns whether more is left in the feed."""
        read = read_feed(self._sessions) or 0
        read_submissions(self._sessions)
        return read >= EVENTS_PER_SLICE

    def _start_due(self) -> bool:
        """Starts a slice for each endpoint with due deliveries; waits until one ends."""
        self._work.clear()
        with self._sessions.read() as session:
            due = endpoints.find_due(session, now=database_now(session))
        random.shuffle(due)  # if there are more endpoints than threads, each has its turn
        for webhook_id, is_failing in due:
            self._start_slice(webhook_id, is_failing=is_failing)
        self._work.wait(POLL_SECONDS)
        return True

    def _start_slice(self, webhook_id: UUID, *, is_failing: bool) -> None:
        """Starts a daemon thread, which must not hold up the end of the process."""
        limit = FAILING_THREADS if is_failing else HEALTHY_THREADS
        with self._lock:
            busy = sum(each is is_failing for _, each in self._running.values())
            if webhook_id in self._running or busy >= limit or self._stopped.is_set():
                return
            thread = threading.Thread(target=self._run_slice, args=(webhook_id,), daemon=True)
            self._running[webhook_id] = thread, is_failing
        thread.start()

    def _run_slice(self, webhook_id: UUID) -> None:
        attempts = 0
        try:
            attempts = self._delivery.deliver_slice(webhook_id)
        except Exception as error:
            # The lease ends by itself, and the messages are sent again with the same ids.
            log.exception("webhook.slice_failed", webhook=str(webhook_id), because=str(error))
        with self._lock:
            del self._running[webhook_id]
        if attempts:
            self._work.set()
