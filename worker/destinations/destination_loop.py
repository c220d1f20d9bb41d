"""The loop that queues changed enrollments for destinations and sends them, in threads.

Each destination has a thread of its own while something is due, so that a slow one does not delay
another. Several processes may run the loop: the position in the feed is locked and destinations are
leased in the database.
"""

import threading
from uuid import UUID

import structlog

from enrollment.storage.destinations import registry
from enrollment.storage.engine.sessions import Sessions, database_now
from worker.background.repeating_thread import (
    LoopEvents,
    Pauses,
    RepeatingThread,
    join_together,
    stop_together,
)
from worker.destinations.destination_delivery import DestinationDelivery
from worker.destinations.fan_out import DESTINATION_EVENTS_PER_SLICE, read_changes

log = structlog.get_logger()

#: Connections to the database: slices hold none while they send.
DESTINATION_CONNECTIONS = 4
#: Seconds between two looks for work.
_POLL_SECONDS = 0.5

_PAUSES = Pauses(outage=2.0, failure=2.0)
_EVENTS = LoopEvents(
    "destinations.database_unavailable", "destinations.step_failed", "destinations.resumed"
)


class DestinationLoop:
    """Queues and sends until it is stopped."""

    def __init__(self, sessions: Sessions, delivery: DestinationDelivery) -> None:
        self._sessions = sessions
        self._delivery = delivery
        self._stopped = delivery.stopped
        self._work = threading.Event()
        self._loops = [
            RepeatingThread(name, step, _EVENTS, pauses=_PAUSES)
            for name, step in (
                ("destinations-fan-out", self._queue_changes),
                ("destinations", self._start_due),
            )
        ]
        #: Threads that send, by destination.
        self._running: dict[UUID, threading.Thread] = {}
        self._lock = threading.Lock()

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

        Their leases end by themselves, and the states are sent again as they are then.
        """
        self.request_stop()
        stop_together(self._loops)
        with self._lock:
            running = list(self._running.values())
        if join_together(running):
            self._delivery.clients.close()

    def _queue_changes(self) -> float:
        """Reads a slice of the feed; rests unless more is left."""
        read = read_changes(self._sessions) or 0
        return 0.0 if read >= DESTINATION_EVENTS_PER_SLICE else _POLL_SECONDS

    def _start_due(self) -> float:
        """Starts a slice for each destination with due deliveries; waits until one ends."""
        self._work.clear()
        with self._sessions.read() as session:
            due = registry.find_due(session, now=database_now(session))
        for destination_id in due:
            self._start_slice(destination_id)
        self._work.wait(_POLL_SECONDS)
        return 0.0

    def _start_slice(self, destination_id: UUID) -> None:
        """Starts a daemon thread, which must not hold up the end of the process."""
        with self._lock:
            if destination_id in self._running or self._stopped.is_set():
                return
            thread = threading.Thread(target=self._run_slice, args=(destination_id,), daemon=True)
            self._running[destination_id] = thread
        thread.start()

    def _run_slice(self, destination_id: UUID) -> None:
        attempts = 0
        try:
            attempts = self._delivery.deliver_slice(destination_id)
        except Exception as error:
            # The lease ends by itself, and the states are sent again as they are then.
            log.exception("destination.slice_failed", id=str(destination_id), because=str(error))
        with self._lock:
            del self._running[destination_id]
        if attempts:
            self._work.set()
