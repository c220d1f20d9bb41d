"""The queue of the task `enrollment.submit`, with what Celery does with its messages."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from celery.app.task import Context
from celery.exceptions import Reject
from kombu.exceptions import OperationalError

from tests.fault_lab.simulator.processes import CrashPlan, ProcessCrashed
from worker.inbound.submit_task import SubmitCalls, register_submit


class Call(NamedTuple):
    """A message of the queue: the arguments of the task, and its id."""

    arguments: Mapping[str, Any]
    task_id: str


class CallQueue:
    """The calls that no worker has taken, the next one first."""

    def __init__(self, crash_plan: CrashPlan) -> None:
        self._crash_plan = crash_plan
        self.calls: list[Call] = []

    def send_again(self, call: Call) -> None:
        """Appends a call. Raises OperationalError, perhaps although it was appended."""
        away = self._crash_plan.rates.broker_down
        if self._crash_plan.happens(away):
            raise OperationalError("refused")
        self.calls.append(call)
        if self._crash_plan.happens(away):
            raise OperationalError("no answer")


class CallWorker:
    """The real task in a process that takes one call at a time; stands for its Celery app."""

    def __init__(
        self, queue: CallQueue, calls: SubmitCalls, *, sleep: Callable[[float], None]
    ) -> None:
        self._queue = queue
        self._task: Callable[..., object]
        register_submit(self, calls, sleep=sleep)  # type: ignore[arg-type]

    def task(self, **_: object) -> Callable[..., Any]:
        """Registers the task."""

        def register(task: Callable[..., object]) -> Callable[..., object]:
            self._task = task
            return task

        return register

    def send_task(
        self, _name: str, *, kwargs: Mapping[str, Any], task_id: str, **_: object
    ) -> None:
        """Puts a call on the queue."""
        self._queue.send_again(Call(kwargs, task_id))

    def step(self) -> int:
        """Takes the next call; returns how many.

        It is back on the queue if its process dies, or rejects it. If any other error leaves the
        task, it is gone: Celery rejects it for good.
        """
        if not self._queue.calls:
            return 0
        call = self._queue.calls.pop(0)
        request = SimpleNamespace(request=Context(id=call.task_id))
        try:
            self._task(request, **call.arguments)
        except ProcessCrashed:
            self._queue.calls.insert(0, call)
            raise
        except Reject as rejected:
            if rejected.requeue:
                self._queue.calls.insert(0, call)
        return 1
