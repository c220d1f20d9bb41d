"""The threads of `enroll beat`, and workers that take calls, as processes of the simulation."""

from collections.abc import Callable
from typing import Any, NamedTuple

from redis import RedisError

from enrollment.domain.errors import EnrollmentError
from enrollment.runtime.failpoints import FailPointReached
from tests.fault_lab.simulator.processes import CrashPlan, Process, ProcessCrashed

#: Errors after which a thread of `enroll beat` takes its next step.
SURVIVED = (ProcessCrashed, EnrollmentError, FailPointReached, RedisError)


class SimulatedThread:
    """A thread of `enroll beat` as a process of its own: it makes its part and takes its steps."""

    def __init__(
        self, name: str, crash_plan: CrashPlan, make: Callable[[], Callable[[], int]], **how: Any
    ) -> None:
        self.process = Process(name, forget=self._forget, **how)
        self._crash_plan, self._make = crash_plan, make
        self._step: Callable[[], int] | None = None

    def _forget(self) -> None:
        self._step = None

    def step(self) -> int:
        """Takes a step; returns how much was done, 0 if it failed."""
        try:
            with self._crash_plan.running(self.process):
                self._step = self._step or self._make()
                return self._step()
        except SURVIVED:
            return 0


class Beats(NamedTuple):
    """The threads of two beats, and two workers that take calls."""

    consumers: list[SimulatedThread]
    repliers: list[SimulatedThread]
    relays: list[SimulatedThread]
    callees: list[SimulatedThread]

    def all(self) -> list[SimulatedThread]:
        """Returns all threads."""
        return [*self.consumers, *self.repliers, *self.relays, *self.callees]
