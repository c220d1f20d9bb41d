"""Runs faults against real processes under load, and checks the histories."""

import random
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fault_lab import kill_loop
from tests.fault_lab.checker.check import Verdict, check
from tests.fault_lab.checker.ledger import Mark, mark
from tests.fault_lab.deliveries.delivery_run import Scale
from tests.fault_lab.deliveries.plans import Plan
from tests.fault_lab.deliveries.run import run_deliveries
from tests.fault_lab.fault_injectors import Fault, RunContext
from tests.fault_lab.fault_injectors.database import DiskFull
from tests.fault_lab.history import History
from tests.fault_lab.load.generator import Load
from tests.fault_lab.load.workload import Mix
from tests.fault_lab.report_table import Row
from tests.fault_lab.stack.stack import Stack, StackBroken, database_on
from tests.support.servers import redis_process
from tests.support.temporary_folders import working_folder

#: Runs after which a stack is replaced: the checked rows grow with every run.
RUNS_OF_A_STACK = 12


@dataclass(kw_only=True)
class _Run:
    """The state of one run."""

    fault: type[Fault]
    stack: Stack
    context: RunContext
    since: Mark
    history: Path
    doubts: list[str] = field(default_factory=list)


class Matrix:
    """Runs one fault after another; several runs share a stack."""

    def __init__(self, folder: Path, *, seconds: float, share: float = 1.0) -> None:
        """``share`` is the fraction of each fault's load."""
        self.folder = folder
        self._seconds = seconds
        self._share = share
        self._stacks: dict[str, Stack] = {}
        self._exits: dict[str, ExitStack] = {}

    def __enter__(self) -> Self:
        """Starts nothing: stacks are started when they are needed."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops all stacks."""
        for sort in list(self._stacks):
            self._retire(sort)

    def run(self, fault: type[Fault], sort: str, seed: int) -> Row:
        """Runs one fault on one database with one seed."""
        about = {"fault": fault.code, "title": fault.title, "database": sort, "seed": seed}
        if why := fault.missing():
            return Row(**about, result="not here", doubts=[why])
        folder = self._folder(f"{fault.code}-{fault.__name__}-{sort}-{seed}")
        began = time.monotonic()
        with self._stack_for(fault, sort) as stack:
            row = _row_or_broken(
                stack, folder, about, lambda: self._run(stack, fault, folder, about)
            )
        if not row.is_good and not fault.alone:
            self._retire(sort)
        return _cleaned_up(row, folder, began)

    def every_second(self, sort: str, seed: int) -> Row:
        """Kills a process every second while a real file is processed, on its own stack."""
        about = {
            "fault": kill_loop.CODE,
            "title": kill_loop.TITLE,
            "database": sort,
            "seed": seed,
        }
        if why := kill_loop.missing():
            return Row(**about, result="not here", doubts=[why])
        return self._alone(about, lambda stack, folder: kill_loop.run(stack, folder, seed))

    def deliveries(self, plan: Plan, sort: str, seed: int, scale: Scale) -> Row:
        """Runs a fault of deliveries on its own stack, whose Redis keeps its data."""
        about = {"fault": plan.code, "title": plan.title, "database": sort, "seed": seed}
        return self._alone(
            about,
            lambda stack, folder: run_deliveries(plan, stack, folder, seed, scale),
            keeps_redis=True,
        )

    def _alone(
        self,
        about: dict[str, object],
        work: Callable[[Stack, Path], Row],
        *,
        keeps_redis: bool = False,
    ) -> Row:
        code = str(about["fault"]).replace("/", "-")
        folder = self._folder(f"{code}-{about['database']}-{about['seed']}")
        began = time.monotonic()
        with ExitStack() as exits:
            stack = _new_stack(str(about["database"]), exits, keeps_redis=keeps_redis)
            row = _row_or_broken(stack, folder, about, lambda: work(stack, folder))
        return _cleaned_up(row, folder, began)

    def _mix(self, fault: type[Fault]) -> Mix:
        mix, share = fault.mix, self._share
        return replace(mix, singles=mix.singles * share, files=mix.files * share)

    def _folder(self, name: str) -> Path:
        """Returns an empty folder: the history of an earlier run is of another service."""
        folder = self.folder / name.lower()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _run(self, stack: Stack, fault: type[Fault], folder: Path, about: dict[str, object]) -> Row:
        path = folder / "history.jsonl"
        seed = f"{about['fault']} {about['database']} {about['seed']}"
        chance = random.Random(seed)
        run = folder.name
        with History(path) as history:
            since = mark(stack.sessions)
            load = Load(
                stack.urls,
                stack.key,
                history,
                chance.randrange(10**6),
                run=run,
                mix=self._mix(fault),
                since=since.position,
            )
            context = RunContext(stack, history, load, chance, run, since.position)
            this = _Run(fault=fault, stack=stack, context=context, since=since, history=path)
            with context.exits:
                try:
                    self._execute(this)
                except StackBroken as broken:
                    this.doubts.append(str(broken))
                finally:
                    load.close()
        verdict = self._check(this)
        return _row(this, verdict, about)

    def _execute(self, this: _Run) -> None:
        """Applies overrides, starts the load, injects, heals, and waits until all is processed."""
        stack, context = this.stack, this.context
        fault = this.fault(context)
        stack.apply_overrides(fault.overrides())
        stack.until_ready()
        for one in stack.processes:
            one.mark()
        context.load.prepare()
        fault.prepare()
        with context.history.fault(this.fault.code) as context.active_fault:
            context.load.start()
            try:
                self._inject(fault, max(self._seconds, this.fault.seconds))
            finally:
                context.load.stop()
                fault.heal()
        context.history.heal()
        stack.until_ready()
        if not context.load.settle(this.fault.patience):
            this.doubts.append(f"not all is answered {this.fault.patience:.0f} s after healing")
        fault.verify()

    def _inject(self, fault: Fault, seconds: float) -> None:
        until = time.monotonic() + seconds
        pause = fault.random.uniform(*fault.pause)
        while time.monotonic() + pause < until:
            time.sleep(pause)
            fault.inject()
            fault.context.injections += 1
            pause = fault.random.uniform(*fault.pause)

    def _check(self, this: _Run) -> Verdict:
        fault = this.fault
        return check(
            this.history,
            this.stack.sessions,
            since=this.since,
            minimum=fault.minimum,
            answered_within=fault.patience,
            max_p99=fault.max_p99,
            traces=fault.traces,
            clocks_agree=fault.clocks_agree,
        )

    @contextmanager
    def _stack_for(self, fault: type[Fault], sort: str) -> Iterator[Stack]:
        """Returns the shared stack of a database, or a new one if the fault changes it permanently."""
        if fault.alone:
            with ExitStack() as exits:
                yield _new_stack(sort, exits, full=issubclass(fault, DiskFull))
            return
        for other, stack in list(self._stacks.items()):
            if other != sort or stack.runs >= RUNS_OF_A_STACK:
                self._retire(other)
        if sort not in self._stacks:
            self._exits[sort] = ExitStack()
            self._stacks[sort] = _new_stack(sort, self._exits[sort])
        stack = self._stacks[sort]
        stack.runs += 1
        try:
            yield stack
        except BaseException:
            self._retire(sort)
            raise

    def _retire(self, sort: str) -> None:
        self._stacks.pop(sort, None)
        if (exits := self._exits.pop(sort, None)) is not None:
            exits.close()


def _row_or_broken(
    stack: Stack, folder: Path, about: dict[str, object], work: Callable[[], Row]
) -> Row:
    """Runs a function and returns its row; an error makes the row ``broken``."""
    try:
        row = work()
    except Exception as error:  # noqa: BLE001 (the row says so, the folder has it all)
        (folder / "traceback.txt").write_text(traceback.format_exc())
        row = Row(**about, result="broken", doubts=[repr(error)])
    if not row.is_good:
        (folder / "processes.log").write_text(stack.logs())
        (folder / "verdict.txt").write_text("\n".join([*row.violations, *row.doubts]))
    return row


def _cleaned_up(row: Row, folder: Path, began: float) -> Row:
    """Deletes the folder of a good run."""
    if row.is_good:
        shutil.rmtree(folder)
    kept = "" if row.is_good else str(folder)
    return replace(row, kept=kept, seconds=round(time.monotonic() - began, 1))


def _new_stack(
    sort: str, exits: ExitStack, *, full: bool = False, keeps_redis: bool = False
) -> Stack:
    """Starts a service with its own servers; with ``full`` its database is on a small disk.

    With ``keeps_redis`` Redis has its data again after it was killed.
    """
    folder = exits.enter_context(working_folder(on_disk=True))
    place = None
    if full:
        place = folder / "records"
        folder.chmod(0o755)  # PostgreSQL runs as another user
        place.mkdir()
        DiskFull.place(place, sort, exits)
    database = exits.enter_context(database_on(sort, folder=place))
    redis = exits.enter_context(redis_process(appendonly=keeps_redis))
    return exits.enter_context(Stack(database, redis, folder))


def _row(this: _Run, verdict: Verdict, about: dict[str, object]) -> Row:
    """Builds the row of a run; its result is the worst that is known."""
    violations = [
        *(f"{one.invariant}: {one.what}" for one in verdict.violations),
        *this.context.problems,
    ]
    result = "violations" if violations else str(verdict.result)
    if result == "ok" and this.doubts:
        result = "broken"
    return Row(
        **about,
        injections=this.context.injections,
        witnessed=this.context.witnessed,
        accepted=verdict.accepted_items,
        p50=verdict.p50,
        p99=verdict.p99,
        recovery=verdict.recovery_seconds,
        violations=violations,
        result=result,
        doubts=[*verdict.doubts, *this.doubts],
    )
