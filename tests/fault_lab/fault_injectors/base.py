"""What every fault has: where it can be had, what it needs, how it strikes, and how it is mended."""

import random
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import redis

from enrollment.runtime.broker import QueueName
from tests.fault_lab.checker.check import Trace
from tests.fault_lab.history import History, Nemesis, Op, Phase
from tests.fault_lab.load.generator import Load
from tests.fault_lab.load.workload import Mix
from tests.fault_lab.stack.stack import PLAIN, Equipment, Stack, wait
from tests.fault_lab.stack.supervised_process import SupervisedProcess

T = TypeVar("T")

SQLITE, POSTGRESQL = "sqlite", "postgresql"
BOTH = (SQLITE, POSTGRESQL)
#: Seconds that a strike waits for its moment at most.
MOMENT = 2.0
#: Where fail points are named.
FAILPOINTS = "ENROLL_FAILPOINTS"


def armed(**traps: str) -> Equipment:
    """Fail points by role."""
    return Equipment({role: {FAILPOINTS: text} for role, text in traps.items()})


@dataclass
class RunContext:
    """What a fault acts on, and where it says so."""

    stack: Stack
    history: History
    load: Load
    random: random.Random
    run: str
    #: Where the feed stood before the run.
    since: int = 0
    #: Things that end with the run: proxies, sessions of its own.
    exits: ExitStack = field(default_factory=ExitStack)
    nemesis: Nemesis | None = None
    strikes: int = 0
    witnessed: int = 0
    #: What the fault itself found wrong.
    complaints: list[str] = field(default_factory=list)

    def saw(self, **facts: object) -> None:
        """A fact that proves that the fault took hold."""
        self.witnessed += 1
        if self.nemesis is not None:
            self.nemesis.witness(**facts)

    def note(self, what: str, **facts: object) -> None:
        """A remark in the history."""
        self.history.write(Op.NOTE, Phase.OK, client="nemesis", what=what, **facts)

    def moment(self, true: Callable[[], object], *, seconds: float = MOMENT) -> bool:
        """Wait for a moment at which a strike bites; False where it does not come."""
        with suppress(RuntimeError):
            wait(true, "the moment to strike", seconds=seconds)
            return True
        return False


class Fault:
    """One row of the matrix. It strikes again and again while the load runs."""

    code: ClassVar[str]
    title: ClassVar[str]
    #: Databases; one where the database plays no part.
    where: ClassVar[Collection[str]] = BOTH
    #: Where CI runs it: where it bites most.
    short: ClassVar[Collection[str]] = ()
    most_seeds: ClassVar[int] = 1000
    #: Seconds between two strikes.
    pause: ClassVar[tuple[float, float]] = (0.3, 1.0)
    #: Seconds of load that it needs at least.
    seconds: ClassVar[float] = 0.0
    #: Seconds within which everything is answered after healing.
    patience: ClassVar[float] = 60.0
    #: It leaves something behind: nobody else runs on that stack, before or after.
    alone: ClassVar[bool] = False
    traces: ClassVar[Collection[Trace]] = ()
    max_p99: ClassVar[float | None] = None
    clocks_agree: ClassVar[bool] = True
    #: Requests that must have been accepted for the run to say anything.
    minimum: ClassVar[int] = 50
    mix: ClassVar[Mix] = Mix()

    @classmethod
    def missing(cls) -> str:
        """Why it cannot be had on this machine; empty where it can."""
        return ""

    def __init__(self, scene: RunContext) -> None:
        self.scene = scene
        self.stack = scene.stack
        self.random = scene.random

    def equipment(self) -> Equipment:
        """What the processes are given for the run."""
        return PLAIN

    def prepare(self) -> None:
        """Before the load begins."""

    def strike(self) -> None:
        """Break something, and mend what has to be mended before the next strike."""
        raise NotImplementedError

    def heal(self) -> None:
        """From here on nothing is broken."""

    def look(self) -> None:
        """After everything is answered: what only shows then."""

    def one_of(self, things: Collection[T]) -> T:
        """Any of them, by the seed."""
        return self.random.choice(list(things))

    def in_work(self) -> bool:
        """Whether requests wait to be answered, not all that there are."""
        return 0 < self.stack.pending() < self.stack.total()

    def witness_logged(
        self, words: str, processes: Collection[SupervisedProcess] | None = None
    ) -> int:
        """Note how often the logs of this run say something; how often."""
        found = 0
        for one in processes or self.stack.processes:
            if times := one.logged_times(words):
                self.scene.saw(process=one.name, logged=words, times=times)
                found += times
        return found

    def witness_deaths(self, names: str = "") -> int:
        """Note processes that died since the last look; how many."""
        new = [death for one in self.stack.processes for death in one.new_deaths()]
        told = [death for death in new if death.name.startswith(names)]
        for death in told:
            self.scene.saw(died=death.name, pid=death.pid, exit_status=death.status)
        return len(told)

    @property
    def queue(self) -> "redis.Redis":
        """A client of the Redis itself, past every proxy."""
        client = redis.Redis.from_url(self.stack.redis.url, socket_timeout=2)
        self.scene.exits.callback(client.close)
        return client


#: The keys under which messages wait.
QUEUES: Mapping[QueueName, str] = {name: f"enroll:{name.value}" for name in QueueName}
UNACKED = ("enroll:unacked", "enroll:unacked_index")


def waiting(client: Any) -> int:
    """Messages that wait in all queues."""
    return sum(int(client.llen(key)) for key in QUEUES.values())
