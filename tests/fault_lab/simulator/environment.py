"""The parts that outlive a schedule: database, real tasks, and the hooks for faults."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn, Protocol, Self

import structlog

from api_gateway.intake import upload_store
from enrollment.domain.errors import Conflict
from enrollment.runtime import failpoints
from enrollment.runtime.failpoints import FailPointReached, Point
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue import claims, lane_floor
from enrollment.storage.queue.lane_floor import LaneFloor
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
from worker.purge import Purge

#: Parts of a file per transaction: low, so that small files need several transactions.
PARTS_A_TRANSACTION = 1
#: Margin of the floors of lanes: short, since a schedule lasts seconds.
FLOOR_MARGIN = timedelta(milliseconds=50)


class ScheduleHooks(Protocol):
    """Callbacks of the schedule that runs at the moment."""

    crash_plan: CrashPlan
    time: VirtualTime
    broker: Broker

    def worker_clock(self) -> float:
        """Returns the seconds of the worker's clock."""

    def on_processed(self, done: ProcessedBatches) -> None:
        """Passes the ids of processed batches to the gateways."""

    def on_unexpected_error(self, what: str) -> None:
        """Records an error in the log that no injected fault explains."""

    def run_concurrently(self) -> None:
        """Runs other processes between the reads and the writes of a worker's transaction."""


class _FailPoints:
    """Replaces the registry of fail points: asks the crash plan of the running schedule."""

    def __init__(self, environment: "Environment") -> None:
        self._environment = environment

    def trigger(self, point: Point, about: str) -> bool:
        return self._environment.schedule.crash_plan.reached(point, about)


class Environment:
    """The service in one thread; runs one schedule after another."""

    schedule: ScheduleHooks

    def __init__(self) -> None:
        self.database = Database()
        engine = self.database.engine
        #: Sessions of operators and observers: no crash is injected there.
        self.sessions = Sessions(engine, now=self._now)
        self.crashing_sessions = CrashingSessions(
            engine,
            now=self._now,
            crash_plan=self._crash_plan,
            run_concurrently=self._run_concurrently,
        )
        self._notifier = SimulatedNotifier(self._broker, self._on_processed)
        self._processor = Processor(sessions=self.crashing_sessions)
        self._maintenance = Maintenance(
            sessions=self.crashing_sessions,
            dispatch=self._notifier.dispatch,
            queue_length=self._notifier.queue_length,
        )
        self._purge = Purge(sessions=self.crashing_sessions, monotonic=self._monotonic)
        self._undo = ExitStack()

    def begin(self, schedule: ScheduleHooks, initial_state: InitialState) -> None:
        """Resets the database to the initial state of a schedule."""
        self.schedule = schedule
        if not self.database.reset(initial_state):
            with self.sessions.begin() as session:
                set_up(session, initial_state, now=START)
            self.database.save_snapshot(initial_state)

    def load(self) -> Tasks:
        """Returns the tasks of a new process, on the virtual clock."""
        own = replace(
            self._processor,
            claim_floor=LaneFloor(self._monotonic),
            waiting_floor=LaneFloor(self._monotonic),
        )
        with patched(tasks, "MinInterval", partial(MinInterval, monotonic=self._monotonic)):
            return Tasks(own, self._maintenance, self._purge, self._notifier)

    # The schedule changes; the objects built in __init__ stay, so they ask for it each time.

    def _now(self) -> datetime:
        return self.schedule.time.now()

    def _monotonic(self) -> float:
        return self.schedule.time.monotonic()

    def _crash_plan(self) -> CrashPlan:
        return self.schedule.crash_plan

    def _broker(self) -> Broker:
        return self.schedule.broker

    def _run_concurrently(self) -> None:
        self.schedule.run_concurrently()

    def _on_processed(self, done: ProcessedBatches) -> None:
        self.schedule.on_processed(done)

    def _worker_clock(self) -> float:
        return self.schedule.worker_clock()

    def _is_locked_elsewhere(self, _row: object = None) -> bool:
        """Returns whether another transaction holds a row lock now (SQLite itself never skips
        rows).
        """
        return self._crash_plan().happens(self._crash_plan().rates.skipped)

    def _skipping(self, locked: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
        return lambda *given: [row for row in locked(*given) if not self._is_locked_elsewhere(row)]

    def _may_conflict(self, reclaim: Callable[..., Any]) -> Callable[..., Any]:
        def wait(*given: Any, **options: Any) -> Any:
            if options.get("is_brief") and self._is_locked_elsewhere():
                message = "a row lock was not to be had in time"
                raise Conflict(message)
            return reclaim(*given, **options)

        return wait

    def __enter__(self) -> Self:
        clock = SimpleNamespace(
            monotonic=self._worker_clock,
            thread_time=float,
            time_ns=lambda: int(self._worker_clock() * 1e9),
        )
        self._undo.enter_context(patched(failpoints, "_armed", _FailPoints(self)))
        self._undo.enter_context(patched(processor, "time", clock))
        self._undo.enter_context(patched(claims, "_lock", self._skipping(claims._lock)))
        self._undo.enter_context(patched(claims, "reclaim", self._may_conflict(claims.reclaim)))
        self._undo.enter_context(
            patched(upload_store, "UPLOAD_BATCHES_PER_TRANSACTION", PARTS_A_TRANSACTION)
        )
        self._undo.enter_context(patched(lane_floor, "MARGIN", FLOOR_MARGIN))
        self._undo.enter_context(_logged_errors_to(self._check_log_entry))
        return self

    def _check_log_entry(self, _logger: object, _level: str, entry: dict[str, Any]) -> NoReturn:
        """Turns each logged error into a violation, unless a fail point raised it."""
        logged = entry.get("exc_info")
        error = logged if isinstance(logged, Exception) else sys.exc_info()[1] if logged else None
        if not isinstance(error, FailPointReached):
            self.schedule.on_unexpected_error(f"{entry['event']}: {error!r}")
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
def _logged_errors_to(check_entry: Callable[..., NoReturn]) -> Iterator[None]:
    """Passes logged errors to a function inside the block; drops all other entries."""
    before = structlog.get_config()
    errors = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(wrapper_class=errors, processors=[check_entry])
    try:
        yield
    finally:
        structlog.configure(**before)
