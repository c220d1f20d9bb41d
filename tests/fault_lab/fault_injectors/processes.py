"""Process faults: killed, terminated, stopped, or started twice."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from enrollment.runtime.broker import REDISPATCH_AFTER, REDISPATCH_INTERVAL, QueueName
from tests.fault_lab.checker.check import Trace
from tests.fault_lab.fault_injectors.base import BOTH, POSTGRESQL, QUEUES, Fault, armed_failpoints
from tests.fault_lab.stack.stack import Overrides
from tests.fault_lab.stack.supervised_process import SupervisedProcess


class GatewaysKilled(Fault):
    code = "F1"
    title = "kill -9 of a gateway (S1-S3)"
    short = (POSTGRESQL,)
    pause = (0.8, 2.0)
    traces = (Trace.UNKNOWN_ANSWERS, Trace.REPLAYED_KEYS)

    def overrides(self) -> Overrides:
        return armed_failpoints(
            gateway="intake.before_commit=crash%0.5;intake.committed=crash%3;"
            "ring.before=crash%0.5;intake.committed=sleep:0.02%5"
        )

    def inject(self) -> None:
        self.choose(self.stack.gateways).kill()
        self.witness_deaths("gateway")

    def heal(self) -> None:
        self.stack.until_ready()
        self.witness_deaths("gateway")


class WorkersKilled(Fault):
    code = "F2"
    title = "kill -9 of a worker and its children (S5-S7)"
    short = BOTH
    pause = (0.5, 1.5)

    def overrides(self) -> Overrides:
        return armed_failpoints(
            worker="task.popped=sleep:0.05%10;work.before_commit=sleep:0.1%20;"
            "work.committed=sleep:0.05%10"
        )

    def inject(self) -> None:
        victim = self.choose(self.stack.workers)
        caught = self.context.moment(lambda: victim.children() and self.in_work(), seconds=30)
        pid = victim.kill()
        if pid and caught:
            self.context.witness(died=victim.name, pid=pid, pending=self.stack.pending())


class ChildrenKilled(Fault):
    code = "F3"
    title = "kill -9 of a pool child, also at each step of its work (S5-S7)"
    pause = (0.2, 0.8)
    parents: dict[str, int]

    def overrides(self) -> Overrides:
        return armed_failpoints(
            worker="task.popped=crash%1;work.before_commit=crash%2;work.committed=crash%2;"
            "work.before_commit=sleep:0.05%10"
        )

    def prepare(self) -> None:
        self.parents = {one.name: one.pid for one in self.stack.workers}

    def inject(self) -> None:
        self.context.moment(self.in_work)
        worker = self.choose(self.stack.workers)
        pending, total = self.stack.pending(), self.stack.total()
        for child in worker.children()[:1]:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            if 0 < pending < total:
                self.context.witness(child_of=worker.name, pid=child, pending=pending)

    def verify(self) -> None:
        self.witness_logged("failpoint.reached", self.stack.workers)
        for one in self.stack.workers:
            # Celery ends a worker whose first child dies at once; the supervisor restarts it.
            was_starting = "Could not start worker processes" in one.log_since_mark()
            if one.pid != self.parents[one.name] and not was_starting:
                self.context.problems.append(f"{one.name} died of the death of its child")


class SchedulesKilled(Fault):
    code = "F4"
    title = "kill -9 of the schedule and in the midst of sweeping (S8, S9); two schedules"
    pause = (0.5, 1.5)

    def overrides(self) -> Overrides:
        failpoints = "sweep.read=crash%30;sweep.announced=crash%20;task.popped=crash%2"
        return Overrides(armed_failpoints(worker=failpoints).variables, beats=2)

    def inject(self) -> None:
        self.choose(self.stack.beats).kill()
        with self.queue as client:  # so that batches must be redispatched
            client.delete(*QUEUES.values())
        self.witness_deaths("beat")

    def verify(self) -> None:
        self.witness_logged("sweep.", self.stack.workers)


class RollingRestart(Fault):
    code = "F5"
    title = "SIGTERM of each process in turn, as a deployment does"
    pause = (0.1, 0.5)
    seconds = 25.0  # a worker waits for 10 s before it ends
    turn = 0

    def inject(self) -> None:
        processes = self.stack.processes
        one = processes[self.turn % len(processes)]
        self.turn += 1
        before = one.starts
        one.terminate()
        self.context.moment(lambda: one.starts > before, seconds=15)
        for death in one.new_deaths():
            self.context.witness(ended=death.name, pid=death.pid, exit_status=death.status)
            if death.status == -signal.SIGKILL:
                self.context.problems.append(f"{death.name} did not end in good order")
        if one.role == "gateway":
            self.context.moment(self.stack.is_ready, seconds=15)


class WorkersStopped(Fault):
    code = "F6"
    title = "SIGSTOP of a worker in mid work beyond the second announcement, then CONT (S6)"
    pause = (0.2, 0.5)
    seconds = 10.0
    #: A stopped worker holds SQLite's write lock: all others wait, and finally answer 503.
    minimum = 20

    def overrides(self) -> Overrides:
        return armed_failpoints(worker="work.before_commit=sleep:0.3%30")

    def inject(self) -> None:
        worker = self.choose(self.stack.workers)
        self.context.moment(lambda: self.in_work() and _logged_lately(worker, "work.before_commit"))
        with worker.held():
            is_held = self.context.moment(lambda: _is_held(worker))
            time.sleep(REDISPATCH_AFTER + REDISPATCH_INTERVAL / 2)
        if is_held:
            self.context.witness(held=worker.name, pid=worker.pid)


class GatewaysStopped(Fault):
    code = "F7"
    title = "SIGSTOP of a gateway for 1-5 s"
    pause = (0.2, 0.8)
    seconds = 8.0

    def inject(self) -> None:
        gateway = self.choose(self.stack.gateways)
        with gateway.held():
            if self.context.moment(lambda: _is_held(gateway)):
                self.context.witness(held=gateway.name, pid=gateway.pid)
            time.sleep(self.random.uniform(1, 5))


class SchedulesTwice(Fault):
    code = "F28"
    title = "two schedules, so two sweepers; each announces twice"
    where = (POSTGRESQL,)
    seconds = 8.0
    pause = (0.2, 0.5)

    def overrides(self) -> Overrides:
        failpoints = "sweep.announced=duplicate;work.before_commit=sleep:0.1%20"
        return Overrides(armed_failpoints(worker=failpoints).variables, beats=2)

    def inject(self) -> None:
        """Checks that both schedules send maintenance tasks."""
        senders: set[str] = set()
        until = time.monotonic() + 2 * REDISPATCH_INTERVAL
        with self.queue as client, client.monitor() as monitor:
            for command in monitor.listen():
                if command["command"].startswith(f"LPUSH {QUEUES[QueueName.UPKEEP]} "):
                    senders.add(command["client_port"])
                if len(senders) > 1 or time.monotonic() > until:
                    break
        if len(senders) > 1:
            self.context.witness(schedules=len(self.stack.beats), sent_from=sorted(senders))


def _is_held(one: SupervisedProcess) -> bool:
    """Returns whether the process is stopped, by /proc."""
    with suppress(OSError):
        return Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def _logged_lately(worker: SupervisedProcess, words: str) -> bool:
    """Returns whether the end of the log contains the words."""
    return words in worker.log_since_mark()[-400:]
