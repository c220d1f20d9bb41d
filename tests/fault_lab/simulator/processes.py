"""Processes that may crash at any step, and sessions that inject the crashes."""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from enrollment.domain.errors import Conflict, DatabaseUnavailable
from enrollment.runtime.failpoints import FailPointReached, Point
from enrollment.storage.engine.attempt_locks import HeldLocks
from enrollment.storage.engine.sessions import Sessions
from tests.fault_lab.simulator.fault_rates import FaultRates
from tests.fault_lab.simulator.transaction_overlap import OverlapPoint
from tests.fault_lab.simulator.workload import POISON

#: How many processes may be paused at once.
MAX_DEPTH = 3
#: Points inside a transaction: no other process runs there.
_IN_TRANSACTION = frozenset(
    {Point.INTAKE_BEFORE_COMMIT, Point.WORK_JUDGING, Point.WORK_BEFORE_COMMIT}
)
#: Points where an error counts as a failed attempt; only `failures_left` may be injected.
_COUNTED = frozenset({Point.WORK_JUDGING, Point.WORK_BEFORE_COMMIT})
_REPEATABLE = frozenset({Point.RING_SENT, Point.WORK_COMMITTED, Point.SWEEP_ANNOUNCED})
#: The fail points of the processes that a simulation has: gateways, workers, the sweep.
SIMULATED_POINTS = (
    Point.INTAKE_BEFORE_COMMIT,
    Point.INTAKE_COMMITTED,
    Point.RING_BEFORE,
    Point.RING_SENT,
    Point.TASK_POPPED,
    Point.WORK_JUDGING,
    Point.WORK_BEFORE_COMMIT,
    Point.WORK_COMMITTED,
    Point.SWEEP_READ,
    Point.SWEEP_ANNOUNCED,
)

#: Steps of every transaction at which a process may crash, beside the fail points.
BEGINNING, COMMITTING, COMMITTED = "beginning", "committing", "committed"


class ProcessCrashed(BaseException):
    """The process ended here: no handler of it may run."""


def _nothing() -> None:
    pass


@dataclass(eq=False)
class Process:
    """A process that can crash; a restart clears its memory."""

    name: str
    life: int = 0
    forget: Callable[[], None] = _nothing
    #: Called at the start of each of its transactions.
    begins: Callable[[], object] = _nothing
    #: Whether its transactions may overlap with others.
    overlaps: bool = False

    def die(self) -> None:
        """Ends the process and starts it again with an empty memory."""
        self.life += 1
        self.forget()


class CrashPlan:
    """Decides which fault happens next, and runs other processes meanwhile."""

    def __init__(
        self,
        rng: random.Random,
        rates: FaultRates,
        *,
        meanwhile: Callable[[], None],
        note: Callable[[str], None],
    ) -> None:
        self.active = True
        self.rates = rates
        #: A step or fail point at which a process crashes, after `spared` others have passed it.
        self.crash_at: str | None = None
        self.to_skip = 0
        #: How many errors may be injected that count as failed attempts.
        self.failures_left = 1
        self._rng = rng
        self._meanwhile = meanwhile
        self._note = note
        self._depth = 0
        #: How often transactions overlapped.
        self.overlaps = 0
        #: Number of crashes, errors and outages: each may leave an attempt counted.
        self.failures = 0
        #: The fail points that were reached.
        self.points: set[Point] = set()
        #: How often each fail point raised.
        self.raised: Counter[Point] = Counter()
        self._running: list[tuple[Process, int]] = []

    def happens(self, chance: float) -> bool:
        """Returns whether an event with this probability happens now."""
        return self.active and chance > 0.0 and self._rng.random() < chance

    @contextmanager
    def running(self, process: Process) -> Iterator[None]:
        """Runs the block as the process."""
        self._running.append((process, process.life))
        try:
            yield
        finally:
            self._running.pop()

    def pause(self) -> None:
        """Runs other processes; raises ProcessCrashed if this one was killed meanwhile."""
        self._run_paused(self.rates.meanwhile, self._meanwhile)
        self.check_alive()

    def overlap(self, run_concurrently: Callable[[], None]) -> None:
        """Lets others commit between the reads and the writes of a transaction.

        A process that was killed meanwhile crashes at its commit.
        """
        if self._run_paused(self.rates.overlapping, run_concurrently):
            self.overlaps += 1

    def _run_paused(self, chance: float, meanwhile: Callable[[], None]) -> bool:
        if self._depth >= MAX_DEPTH or not self.happens(chance):
            return False
        self._depth += 1
        try:
            meanwhile()
        finally:
            self._depth -= 1
        return True

    @property
    def running_process(self) -> Process | None:
        """Returns the running process."""
        return self._running[-1][0] if self._running else None

    def check_alive(self) -> None:
        """Raises ProcessCrashed if the running process was killed."""
        if self._running:
            process, life = self._running[-1]
            if process.life != life:
                raise ProcessCrashed

    def at_step(self, moment: str) -> None:
        """Injects faults at a step of a transaction."""
        if not self._running:
            return
        if moment == COMMITTING:
            self.check_alive()
        else:
            self.pause()
        if moment == BEGINNING:
            self._running[-1][0].begins()
        self._maybe_crash(moment)
        if self.happens(self.rates.away):
            self._note(f"    the database is away at {moment}")
            self.failures += 1
            raise DatabaseUnavailable(moment)
        if moment == COMMITTING and self.happens(self.rates.conflict):
            raise Conflict(moment)

    def reached(self, point: Point, about: str) -> bool:
        """Injects faults at a fail point; returns True if its action is to be duplicated."""
        if not self._running:
            return False
        self.points.add(point)
        if point is Point.WORK_JUDGING:
            self._process_poison(about)
            return False
        if point not in _IN_TRANSACTION:
            self.pause()
        self._maybe_crash(point)
        if self.happens(self.rates.raising) and self._may_raise(point):
            self._note(f"    {point} raises")
            self.failures += 1
            self.raised[point] += 1
            raise FailPointReached(point)
        return point in _REPEATABLE and self.happens(self.rates.doubled)

    def _process_poison(self, username: str) -> None:
        if username == POISON:
            self._kill(Point.WORK_JUDGING)

    def _may_raise(self, point: Point) -> bool:
        if point not in _COUNTED:
            return True
        self.failures_left -= 1
        return self.failures_left >= 0

    def _maybe_crash(self, where: str) -> None:
        if self.crash_at == where:
            self.to_skip -= 1
            if self.to_skip < 0:
                self.crash_at = None
                self._kill(where)
        if self.happens(self.rates.crash):
            self._kill(where)

    def _kill(self, where: str) -> None:
        process, _ = self._running[-1]
        self._note(f"    {process.name} dies at {where}")
        self.failures += 1
        process.die()
        raise ProcessCrashed


class CrashingLocks:
    """Attempt locks that are released when the process that holds them crashes."""

    def __init__(self, crash_plan: Callable[[], CrashPlan]) -> None:
        self._crash_plan = crash_plan
        self._holders: dict[int, tuple[Process, int]] = {}

    @contextmanager
    def scope(self) -> Iterator[HeldLocks]:
        running_process = self._crash_plan().running_process
        assert running_process is not None
        holder = (running_process, running_process.life)
        try:
            yield _Held(self._holders, holder)
        finally:
            for batch_id in [one for one, by in self._holders.items() if by == holder]:
                del self._holders[batch_id]


class _Held:
    def __init__(
        self, holders: dict[int, tuple[Process, int]], holder: tuple[Process, int]
    ) -> None:
        self._holders, self._holder = holders, holder

    def acquire(self, batch_ids: Collection[int]) -> set[int]:
        free = {batch_id for batch_id in batch_ids if self._is_free(batch_id)}
        self._holders.update(dict.fromkeys(free, self._holder))
        return free

    def _is_free(self, batch_id: int) -> bool:
        holder = self._holders.get(batch_id, self._holder)
        return holder == self._holder or holder[0].life != holder[1]


class CrashingSessions(Sessions):
    """Sessions that inject faults at both ends of every transaction."""

    def __init__(
        self,
        engine: Engine,
        *,
        now: Callable[[], datetime],
        crash_plan: Callable[[], CrashPlan],
        run_concurrently: Callable[[], None],
    ) -> None:
        super().__init__(engine, now=now)
        self._crash_plan = crash_plan
        self.attempt_locks = CrashingLocks(crash_plan)
        self._gap = OverlapPoint(engine, lambda: crash_plan().overlap(run_concurrently))

    @contextmanager
    def begin(self, *, seconds: float | None = None) -> Iterator[Session]:
        crash_plan = self._crash_plan()
        crash_plan.at_step(BEGINNING)
        overlaps = crash_plan.running_process is not None and crash_plan.running_process.overlaps
        gap = self._gap.within() if overlaps else nullcontext()
        with super().begin(seconds=seconds) as session, gap:
            yield session
            crash_plan.at_step(COMMITTING)
        crash_plan.at_step(COMMITTED)

    @contextmanager
    def read(self) -> Iterator[Session]:
        crash_plan = self._crash_plan()
        crash_plan.at_step(BEGINNING)
        with super().read() as session:
            yield session
        crash_plan.pause()
