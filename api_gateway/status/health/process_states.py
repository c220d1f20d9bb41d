"""Workers and beat: whether they live, and sentences for operators if they do not."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from enrollment.runtime.broker import QueueName
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.upkeep import heartbeats
from enrollment.storage.upkeep.heartbeats import Heartbeat, ProcessKind


class ProcessStates(NamedTuple):
    """The processes that have heartbeats, at one time of the database."""

    now: datetime
    seen: Sequence[Heartbeat]

    @property
    def live_workers(self) -> list[Heartbeat]:
        """Workers that live."""
        return [each for each in self._of(ProcessKind.WORKER) if each.is_alive(self.now)]

    @property
    def is_beat_alive(self) -> bool:
        """Whether a beat lives."""
        return any(each.is_alive(self.now) for each in self._of(ProcessKind.BEAT))

    @property
    def beat_age(self) -> float | None:
        """Seconds since a beat was seen; None if there is none."""
        ages = [(self.now - each.last_seen).total_seconds() for each in self._of(ProcessKind.BEAT)]
        return max(min(ages), 0.0) if ages else None

    @property
    def dead(self) -> list[Heartbeat]:
        """Processes that ended without notice."""
        return [each for each in self.seen if not each.is_alive(self.now)]

    def findings(self) -> list[str]:
        """Returns a sentence about each lack."""
        found = [_dead(each) for each in self.dead]
        served = {lane for each in self.live_workers for lane in each.process.lanes}
        if not self.live_workers:
            found.append("no worker runs: requests are stored, and processed once one runs")
        else:
            missing = sorted({queue.name.lower() for queue in QueueName} - served)
            found += [f"no worker serves the lane {lane}" for lane in missing]
        if not self.is_beat_alive:
            found.append(
                "beat does not run: nothing is re-dispatched, purged, published or sent to webhooks"
            )
        return found

    def _of(self, kind: ProcessKind) -> list[Heartbeat]:
        return [each for each in self.seen if each.process.kind == kind]


def load_process_states(session: Session) -> ProcessStates:
    """Reads the heartbeats."""
    return ProcessStates(database_now(session), heartbeats.list_all(session))


def _dead(heartbeat: Heartbeat) -> str:
    process = heartbeat.process
    seen = heartbeat.last_seen.isoformat(timespec="seconds")
    return f"{process.kind} {process.name} on {process.host} is dead: it was last seen at {seen}"
