"""The heartbeat of a worker or of beat, in a thread of its own."""

import os
import socket
from collections.abc import Sequence
from importlib import metadata
from uuid import uuid4

from enrollment.runtime.metrics.instruments import BATCHES
from enrollment.storage.engine.sessions import Sessions, database_now
from enrollment.storage.upkeep import heartbeats
from enrollment.storage.upkeep.heartbeats import HEARTBEAT_SECONDS, ProcessKind, ProcessRecord
from worker.background.repeating_thread import LoopEvents, RepeatingThread

_EVENTS = LoopEvents("heartbeat.interrupted", "heartbeat.failed", "heartbeat.resumed")


def describe_this_process(kind: ProcessKind, name: str, lanes: Sequence[str]) -> ProcessRecord:
    """Returns the record of this process, with a new id; a child process may use its parent's."""
    host, version = socket.gethostname()[:255], metadata.version("enrollment-service")
    return ProcessRecord(
        uuid4(), kind.value, name[:255], host, os.getpid(), version[:100], list(lanes)
    )


def make_heartbeat(sessions: Sessions, process: ProcessRecord) -> RepeatingThread:
    """Returns a thread that says that the process lives, and at its end that it does no more."""

    def step() -> float:
        with sessions.begin() as session:
            now = database_now(session)
            heartbeats.record(session, process, batches=_completed_batches(), now=now)
        return HEARTBEAT_SECONDS

    def forget() -> None:
        with sessions.begin() as session:
            heartbeats.remove(session, process.id)

    return RepeatingThread("heartbeat", step, _EVENTS, at_end=forget)


def _completed_batches() -> int:
    """Returns how many batches this process has completed, from its metrics."""
    (family,) = BATCHES.collect()
    return int(sum(sample.value for sample in family.samples))
