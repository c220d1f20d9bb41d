"""Maintenance with a manual clock."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from enrollment.domain.codes import Lane
from enrollment.domain.model import microseconds
from enrollment.runtime.broker import REDISPATCH_AFTER
from enrollment.storage.tables import BatchRow, IdempotencyRow, MaintenanceRow, SubmissionRow
from worker.maintenance import Maintenance
from worker.purge import Purge

#: Longer than `REDISPATCH_AFTER`.
FORGOTTEN = {"seconds": int(2 * REDISPATCH_AFTER)}


class MaintenanceEnv:
    """Maintenance with a manual clock."""

    def __init__(self, world, **settings):
        self.world = world
        self.rung = []
        #: Messages of each lane that workers have not taken yet; `sweep` empties them.
        self.queues = {lane: [] for lane in Lane}
        self.queue_is_away = False
        self.sweeper = Maintenance(
            sessions=world.sessions, dispatch=self.announce, queue_length=self.queue_length
        )
        self.purge = Purge(sessions=world.sessions, **settings)

    def announce(self, waiting):
        if not self.queue_is_away:
            self.rung.append(waiting)
            self.queues[waiting.lane].append(waiting.id)
        return not self.queue_is_away

    def queue_length(self, lane):
        return None if self.queue_is_away else len(self.queues[lane])

    def pass_time(self, **spent):
        ago = datetime.now(UTC) - timedelta(**spent)
        with self.world.sessions.begin() as session:
            for column in (BatchRow.announced_at, BatchRow.waiting_since, BatchRow.answered_at):
                session.execute(
                    update(BatchRow).where(column.is_not(None)).values({column.key: ago})
                )
            for column in (SubmissionRow.received_at, SubmissionRow.finished_at):
                session.execute(
                    update(SubmissionRow).where(column.is_not(None)).values({column.key: ago})
                )
            session.execute(update(IdempotencyRow).values(created=ago))
            _age_tries(session, ago)

    def sweep(self):
        """Re-dispatches, and takes all messages from the queues."""
        swept = self.sweep_without_workers()
        self.take_messages()
        return swept

    def take_messages(self):
        """Takes all messages from the queues, in the order of workers."""
        taken = [number for messages in self.queues.values() for number in messages]
        for messages in self.queues.values():
            messages.clear()
        return taken

    def sweep_without_workers(self):
        """Re-dispatches, while the messages stay on the queues."""
        self.rung.clear()
        assert self.sweeper.redispatch_overdue() == len(self.rung)
        return [waiting.id for waiting in self.rung]

    def make_purge_due(self):
        """Makes the last purge end long ago."""
        ago = datetime.now(UTC) - timedelta(days=2)
        with self.world.sessions.begin() as session:
            session.execute(update(MaintenanceRow).values(ended_at=ago, turn_at=None))

    def purge_all(self):
        """Purges until nothing is left; returns the number of turns."""
        self.make_purge_due()
        turns, following = 1, self.purge.run_turn()
        while following is not None:
            turns, following = turns + 1, self.purge.run_turn(following)
        return turns


def _age_tries(session, ago):
    """Marks attempts as started long ago and never finished."""
    for number, known in session.execute(select(BatchRow.id, BatchRow.suspicion)).all():
        if known is not None and known["begun_at"] is not None:
            aged = {**known, "begun_at": microseconds(ago)}
            session.execute(update(BatchRow).where(BatchRow.id == number).values(suspicion=aged))
