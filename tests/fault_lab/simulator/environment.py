"""The parts that outlive a schedule: database, real tasks, and the hooks for faults."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn, Protocol, Self

import structlog

from api_gateway.intake import upload_store
from enrollment.domain.errors import Conflict
from enrollment.runtime import failpoints
from enrollment.runtime.failpoints import FailPointReached, Point
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue import claims
from tests.fault_lab.simulator.broker import Broker
from tests.fault_lab.simulator.database import Database
from tests.fault_lab.simulator.fault_rates import START, VirtualTime
from tests.fault_lab.simulator.initial_state import InitialState, set_up
from tests.fault_lab.simulator.processes import CrashingSessions, CrashPlan
from tests.fault_lab.simulator.service import SimulatedNotifier, Tasks
from worker import tasks
from worker.maintenance import Maintenance, MinInterval
from worker.processing import processor
from worker.processing.processor import Processor
from worker.processing.transaction import ProcessedBatches

#: Parts of a file per transaction: low, so that small files need several transactions.
PARTS_A_TRANSACTION = 2


class ScheduleHooks(Protocol):
    """Callbacks of the schedule that runs at the moment."""

    fate: CrashPlan
    time: VirtualTime
    broker: Broker

    def work_takes(self) -> float:
        """Returns the seconds of the worker's clock."""

    def hear(self, done: ProcessedBatches) -> None:
        """Passes the ids of processed batches to the gateways."""

    def surprised(self, what: str) -> None:
        """Records an error in the log that no injected fault explains."""

    def beside(self) -> None:
        """Runs other processes between the reads and the writes of a worker's transaction."""


class _FailPoints:
    """Replaces the registry of fail points: asks the crash plan of the running schedule."""

    def __init__(self, bench: "Bench") -> None:
        self._bench = bench

    def meet(self, point: Point, about: str) -> bool:
        return self._bench.player.fate.reached(point, about)


class Bench:
    """The service in one thread; runs one schedule after another."""

    player: ScheduleHooks

    def __init__(self) -> None:
        self.database = Database()
        engine = self.database.engine
        #: Sessions of operators and observers: no crash is injected there.
        self.sessions = Sessions(engine, now=self._now)
        self.mortal = CrashingSessions(engine, now=self._now, fate=self._fate, beside=self._beside)
        self._announcer = SimulatedNotifier(self._broker, self._hear)
        self._processor = Processor(sessions=self.mortal)
        self._sweeper = Maintenance(sessions=self.mortal, announce=self._announcer.announce)
        self._undo = ExitStack()

    def begin(self, player: ScheduleHooks, scene: InitialState) -> None:
        """Resets the database to the initial state of a schedule."""
        self.player = player
        if not self.database.reset(scene):
            with self.sessions.begin() as session:
                set_up(session, scene, now=START)
            self.database.keep(scene)

    def load(self) -> Tasks:
        """Returns the tasks of a new process, on the virtual clock."""
        with patched(tasks, "MinInterval", partial(MinInterval, monotonic=self._monotonic)):
            return Tasks(self._processor, self._sweeper, self._announcer)

    # The schedule changes; the objects built in __init__ stay, so they ask for it each time.

    def _now(self) -> datetime:
        return self.player.time.now()

    def _monotonic(self) -> float:
        return self.player.time.monotonic()

    def _fate(self) -> CrashPlan:
        return self.player.fate

    def _broker(self) -> Broker:
        return self.player.broker

    def _beside(self) -> None:
        self.player.beside()

    def _hear(self, done: ProcessedBatches) -> None:
        self.player.hear(done)

    def _work_takes(self) -> float:
        return self.player.work_takes()

    def _is_held(self, _row: object = None) -> bool:
        """Returns whether another transaction holds a row lock now (SQLite itself never skips
        rows).
        """
        return self._fate().happens(self._fate().weather.skipped)

    def _skipping(self, locked: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
        return lambda *given: [row for row in locked(*given) if not self._is_held(row)]

    def _in_vain(self, reclaim: Callable[..., Any]) -> Callable[..., Any]:
        def wait(*given: Any) -> Any:
            if self._is_held():
                message = "a row lock was not to be had in time"
                raise Conflict(message)
            return reclaim(*given)

        return wait

    def __enter__(self) -> Self:
        clock = SimpleNamespace(monotonic=self._work_takes, thread_time=float)
        self._undo.enter_context(patched(failpoints, "_armed", _FailPoints(self)))
        self._undo.enter_context(patched(processor, "time", clock))
        self._undo.enter_context(patched(claims, "_locked", self._skipping(claims._locked)))
        self._undo.enter_context(patched(claims, "reclaim", self._in_vain(claims.reclaim)))
        self._undo.enter_context(
            patched(upload_store, "BATCHES_A_TRANSACTION", PARTS_A_TRANSACTION)
        )
        self._undo.enter_context(_logs_go_to(self._look))
        return self

    def _look(self, _logger: object, _level: str, entry: dict[str, Any]) -> NoReturn:
        """Turns each logged error into a violation, unless a fail point raised it."""
        logged = entry.get("exc_info")
        error = logged if isinstance(logged, Exception) else sys.exc_info()[1] if logged else None
        if not isinstance(error, FailPointReached):
            self.player.surprised(f"{entry['event']}: {error!r}")
        raise structlog.DropEvent

    def __exit__(self, *_: object) -> None:
        self._undo.close()
        self._processor.transaction.overlays.close()
        self.database.close()


@contextmanager
def patched(owner: Any, name: str, value: object) -> Iterator[None]:
    """Replaces an attribute inside the block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _logs_go_to(look: Callable[..., NoReturn]) -> Iterator[None]:
    """Passes logged errors to a function inside the block; drops all other entries."""
    before = structlog.get_config()
    errors = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(wrapper_class=errors, processors=[look])
    try:
        yield
    finally:
        structlog.configure(**before)
