"""The base class of faults: requirements, process overrides, injection, healing."""

import random
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import redis

from enrollment.runtime.broker import QueueName
from tests.fault_lab.checker.check import Trace
from tests.fault_lab.history import ActiveFault, History, Op, Phase
from tests.fault_lab.load.generator import Load
from tests.fault_lab.load.workload import Mix
from tests.fault_lab.stack.stack import NO_OVERRIDES, Overrides, Stack, wait
from tests.fault_lab.stack.supervised_process import SupervisedProcess

T = TypeVar("T")

SQLITE, POSTGRESQL = "sqlite", "postgresql"
BOTH = (SQLITE, POSTGRESQL)
#: Maximum wait of an injection for the right time, in seconds.
MOMENT = 2.0
#: The environment variable of fail points.
FAILPOINTS = "ENROLL_FAILPOINTS"


def armed_failpoints(**failpoints: str) -> Overrides:
    """Returns overrides that arm fail points, by role."""
    return Overrides({role: {FAILPOINTS: text} for role, text in failpoints.items()})


@dataclass
class RunContext:
    """The service, load and history that a fault acts on."""

    stack: Stack
    history: History
    load: Load
    random: random.Random
    run: str
    #: The feed position before the run.
    since: int = 0
    #: Resources that are closed with the run: proxies, clients.
    exits: ExitStack = field(default_factory=ExitStack)
    active_fault: ActiveFault | None = None
    injections: int = 0
    witnessed: int = 0
    #: Violations that the fault itself found.
    problems: list[str] = field(default_factory=list)

    def witness(self, **facts: object) -> None:
        """Records evidence that the fault took effect."""
        self.witnessed += 1
        if self.active_fault is not None:
            self.active_fault.witness(**facts)

    def note(self, what: str, **facts: object) -> None:
        """Records a remark in the history."""
        self.history.write(Op.NOTE, Phase.OK, client="fault", what=what, **facts)

    def moment(self, true: Callable[[], object], *, seconds: float = MOMENT) -> bool:
        """Waits for a condition; returns False if it does not come in time."""
        with suppress(RuntimeError):
            wait(true, "the moment to strike", seconds=seconds)
            return True
        return False


class Fault:
    """One row of the matrix. It is injected repeatedly while the load runs."""

    code: ClassVar[str]
    title: ClassVar[str]
    #: Databases it runs on; one if the database plays no part.
    where: ClassVar[Collection[str]] = BOTH
    #: Databases it runs on in CI.
    short: ClassVar[Collection[str]] = ()
    most_seeds: ClassVar[int] = 1000
    #: Minimum and maximum seconds between two injections.
    pause: ClassVar[tuple[float, float]] = (0.3, 1.0)
    #: Minimum seconds of load.
    seconds: ClassVar[float] = 0.0
    #: Seconds within which everything must be processed after healing.
    patience: ClassVar[float] = 60.0
    #: It changes the stack permanently, so it gets a stack of its own.
    alone: ClassVar[bool] = False
    traces: ClassVar[Collection[Trace]] = ()
    max_p99: ClassVar[float | None] = None
    clocks_agree: ClassVar[bool] = True
    #: Minimum number of accepted requests for a conclusive run.
    minimum: ClassVar[int] = 50
    mix: ClassVar[Mix] = Mix()

    @classmethod
    def missing(cls) -> str:
        """Returns why it is not available on this machine; empty if it is."""
        return ""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.stack = context.stack
        self.random = context.random

    def overrides(self) -> Overrides:
        """Returns the overrides of processes for the run."""
        return NO_OVERRIDES

    def prepare(self) -> None:
        """Runs before the load starts."""

    def inject(self) -> None:
        """Injects the fault, and repairs what must be repaired before the next injection."""
        raise NotImplementedError

    def heal(self) -> None:
        """Ends the fault; nothing is broken afterwards."""

    def verify(self) -> None:
        """Collects evidence and checks after everything is processed."""

    def choose(self, things: Collection[T]) -> T:
        """Returns a random element."""
        return self.random.choice(list(things))

    def in_work(self) -> bool:
        """Returns whether some requests of the run are processed and some are not."""
        return 0 < self.stack.pending() < self.stack.total()

    def witness_logged(
        self, words: str, processes: Collection[SupervisedProcess] | None = None
    ) -> int:
        """Records how often the logs of this run contain the words; returns the number."""
        found = 0
        for one in processes or self.stack.processes:
            if times := one.logged_times(words):
                self.context.witness(process=one.name, logged=words, times=times)
                found += times
        return found

    def witness_deaths(self, names: str = "") -> int:
        """Records processes that died since the last call; returns their number."""
        new = [death for one in self.stack.processes for death in one.new_deaths()]
        matching = [death for death in new if death.name.startswith(names)]
        for death in matching:
            self.context.witness(died=death.name, pid=death.pid, exit_status=death.status)
        return len(matching)

    @property
    def queue(self) -> "redis.Redis":
        """Returns a client of Redis that bypasses every proxy."""
        client = redis.Redis.from_url(self.stack.redis.url, socket_timeout=2)
        self.context.exits.callback(client.close)
        return client


#: The Redis keys of the queues.
QUEUES: Mapping[QueueName, str] = {name: f"enroll:{name.value}" for name in QueueName}
UNACKED = ("enroll:unacked", "enroll:unacked_index")


def waiting(client: Any) -> int:
    """Returns the number of messages in all queues."""
    return sum(int(client.llen(key)) for key in QUEUES.values())
