"""Heartbeats of workers and of beat: rows that a process renews, and deletes when it ends."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete as delete_from
from sqlalchemy import select
from sqlalchemy.orm import Session

from enrollment.storage.bulk.array_params import insert_on
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import ProcessHeartbeatRow

#: Seconds between two heartbeats of a process.
HEARTBEAT_SECONDS = 10.0
#: Age of the last heartbeat from which a process counts as dead: two in a row are missing.
DEAD_AFTER = timedelta(seconds=25)
#: For how long a dead process is remembered, as long as any other one is alive.
REMEMBERED = timedelta(minutes=10)
#: Most processes that are listed.
MAX_PROCESSES = 1_000


class ProcessKind(StrEnum):
    """The kinds of process that have heartbeats."""

    WORKER = "worker"
    BEAT = "beat"


class ProcessRecord(NamedTuple):
    """A process, for as long as it runs."""

    id: UUID
    kind: str
    name: str
    host: str
    pid: int
    version: str
    #: Lanes that it serves; of beat none.
    lanes: list[str]


class Heartbeat(NamedTuple):
    """A process as it was seen last."""

    process: ProcessRecord
    since: datetime
    last_seen: datetime
    #: Batches that its present child process completed.
    batches: int

    def is_alive(self, now: datetime) -> bool:
        """Returns whether the process was seen lately."""
        return now - self.last_seen <= DEAD_AFTER


def record(session: Session, process: ProcessRecord, *, batches: int, now: datetime) -> None:
    """Stores the heartbeat of a process; forgets those that died a while ago."""
    insert = insert_on(postgresql=is_postgresql(session))(ProcessHeartbeatRow).values(
        **process._asdict(), since=now, last_seen=now, batches=batches
    )
    changed = {"last_seen": insert.excluded.last_seen, "batches": insert.excluded.batches}
    session.execute(insert.on_conflict_do_update(index_elements=["id"], set_=changed))
    session.execute(
        delete_from(ProcessHeartbeatRow).where(ProcessHeartbeatRow.last_seen < now - REMEMBERED)
    )


def remove(session: Session, process_id: UUID) -> None:
    """Forgets a process that ends."""
    session.execute(delete_from(ProcessHeartbeatRow).where(ProcessHeartbeatRow.id == process_id))


def list_all(session: Session) -> list[Heartbeat]:
    """Returns the processes by kind, host and name, dead ones included."""
    row = ProcessHeartbeatRow
    found = session.execute(
        select(row.id, row.kind, row.name, row.host, row.pid, row.version, row.lanes)
        .add_columns(row.since, row.last_seen, row.batches)
        .order_by(row.kind.desc(), row.host, row.name, row.id)
        .limit(MAX_PROCESSES)
    )
    return [Heartbeat(ProcessRecord(*each[:7]), *each[7:]) for each in found]
