"""The loop that queues changed enrollments for destinations and sends them, in threads.

Each destination has a thread of its own while something is due, so that a slow one does not delay
another. Several processes may run the loop: the position in the feed is locked and destinations are
leased in the database.
"""

import threading
from functools import partial
from uuid import UUID

import structlog

from enrollment.storage.destinations import deliveries, registry
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.webhooks import positions
from worker.background.keyed_threads import KeyedThreads
from worker.background.pace import LONGEST_REST, file_pace
from worker.background.repeating_thread import (
    LoopEvents,
    Pauses,
    RepeatingThread,
    stop_together,
)
from worker.destinations.destination_delivery import DestinationDelivery
from worker.destinations.fan_out import DESTINATION_EVENTS_PER_SLICE, read_changes

log = structlog.get_logger()

#: Connections to the database: slices hold none while they send.
DESTINATION_CONNECTIONS = 4
#: States of a slice while files are processed: the next one comes after a rest.
YIELDING_STATES = 20
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
        self._pace = file_pace(sessions)
        self._stopped = delivery.stopped
        self._work = threading.Event()
        self._loops = [
            RepeatingThread(name, step, _EVENTS, pauses=_PAUSES)
            for name, step in (
                ("destinations-fan-out", self._queue_changes),
                ("destinations", self._start_due),
            )
        ]
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

        Their leases end by themselves, and the states are sent again as they are then.
        """
        self.request_stop()
        stop_together(self._loops)
        if self._threads.join():
            self._delivery.clients.close()

    def _queue_changes(self) -> float:
        """Reads a slice of the feed; rests unless more is left."""
        with self._pace.step():
            read = read_changes(self._sessions) or 0
        if read < DESTINATION_EVENTS_PER_SLICE:
            return _POLL_SECONDS
        with self._sessions.read() as session:
            age = positions.unread_age(session, positions.DESTINATIONS)
        return self._pace.rest(age)

    def _start_due(self) -> float:
        """Starts a slice for each destination with due deliveries; waits until one ends.

        While files are processed slices are short, with a rest after them. Clients of destinations
        that were deleted are closed.
        """
        self._work.clear()
        with self._sessions.read() as session:
            now = database_now(session)
            due = registry.find_due(session, now=now)
            overdue = deliveries.longest_overdue(session, due, now=now) if due else 0.0
            existing = registry.find_ids(session)
        self._delivery.clients.close_others(existing | self._threads.keys())
        must_yield = bool(due) and self._pace.must_yield(overdue)
        limit = YIELDING_STATES if must_yield else None
        for destination_id in due:
            self._threads.start(destination_id, partial(self._run_slice, destination_id, limit))
        if must_yield:
            self._stopped.wait(LONGEST_REST)
        else:
            self._work.wait(_POLL_SECONDS)
        return 0.0

    def _run_slice(self, destination_id: UUID, limit: int | None) -> int:
        """Delivers a slice; returns the number of attempts."""
        try:
            return self._delivery.deliver_slice(destination_id, limit=limit)
        except Exception as error:
            # The lease ends by itself, and the states are sent again as they are then.
            log.exception("destination.slice_failed", id=str(destination_id), because=str(error))
            return 0
