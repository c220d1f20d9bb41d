"""The loop that queues changed enrollments for destinations and sends them, in threads."""

from functools import partial
from uuid import UUID

import structlog

from enrollment.storage.destinations import deliveries, registry
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.webhooks import positions
from worker.background.repeating_thread import LoopEvents
from worker.background.sending_loop import SendingLoop
from worker.destinations.destination_delivery import DestinationDelivery
from worker.destinations.fan_out import DESTINATION_EVENTS_PER_SLICE, read_changes

log = structlog.get_logger()

#: Connections to the database: slices hold none while they send.
DESTINATION_CONNECTIONS = 4
#: States of a slice while files are processed: the next one comes after a rest.
YIELDING_STATES = 20


class DestinationLoop(SendingLoop):
    """Queues states and sends them to destinations."""

    names = ("destinations-fan-out", "destinations")
    events = LoopEvents(
        "destinations.database_unavailable", "destinations.step_failed", "destinations.resumed"
    )
    source = positions.DESTINATIONS

    def __init__(self, sessions: Sessions, delivery: DestinationDelivery) -> None:
        super().__init__(sessions, delivery.stopped)
        self._delivery = delivery

    def stop(self) -> bool:
        """Stops like every loop that sends, and closes the clients if none is in use."""
        if has_ended := super().stop():
            self._delivery.clients.close()
        return has_ended

    def read_slice(self) -> bool:
        """Reads a slice of the feed; returns whether more is left."""
        return (read_changes(self._sessions) or 0) >= DESTINATION_EVENTS_PER_SLICE

    def start_due(self) -> bool:
        """Starts a slice for each destination with due deliveries, a short one if it must wait.

        Clients of destinations that were deleted are closed.
        """
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
        return must_yield

    def _run_slice(self, destination_id: UUID, limit: int | None) -> int:
        """Delivers a slice; returns the number of attempts."""
        try:
            return self._delivery.deliver_slice(destination_id, limit=limit)
        except Exception as error:
            # The lease ends by itself, and the states are sent again as they are then.
            log.exception("destination.slice_failed", id=str(destination_id), because=str(error))
            return 0
