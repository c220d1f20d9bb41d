"""Profiles the gateway and the worker: samples their stacks while they work.

Reports the stages of a row of a file in microseconds, and those of a single request alone in
milliseconds. For information only: sampling itself takes CPU time, so rates are measured elsewhere.
Functions are named as py-spy writes them: "qualified name (path of the file".
"""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from bench.bulk import ROWS
from bench.samples import Sample, term
from bench.singles import ALONE, QUICK_ALONE, single_latencies
from bench.stack import Servers, Service, Size, service
from bench.synthetic_terms import repeated
from bench.table import Figure
from tests.support.temporary_folders import working_folder

#: Samples per second.
RATE = 250
#: Functions that wait for PostgreSQL or send to it.
WAITS = ("_TimeoutConnection.wait (enrollment/storage/engine/engines.py",)
#: Functions by stage of a task. A stack belongs to the stage of its outermost function listed here.
WORKER_STAGES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "claiming": (
            "claim_due (worker/processing/batch_claims.py",
            "Processor._successors (",
            "Processor._may_continue (",
            "database_now (enrollment/storage/engine/sessions.py",
            "find_all (enrollment/storage/submissions.py",
            "block_deletion (enrollment/storage/learners.py",
        ),
        "reading rows": (
            "decode_claimed (worker/processing/decoded_claim.py",
            "_settle (worker/processing/decoded_claim.py",
        ),
        "reading ahead": ("Prefetcher.fetch_next (", "FetchedBatches.decode ("),
        "looking up what stands": ("load_state (worker/processing/load.py",),
        "judging": ("PreparedBatches.decide (",),
        "making events": (
            "_new_events (worker/processing/persist.py",
            "render_events (enrollment/storage/events.py",
        ),
        "making enrollments": (
            "_enrollment_writes (worker/processing/persist.py",
            "render_writes (enrollment/storage/enrollments.py",
        ),
        "making outcomes": ("PreparedBatches.encode (",),
        "writing learners": ("insert_new (enrollment/storage/learners.py",),
        "writing events": ("append_pipelined (enrollment/storage/events.py",),
        "writing enrollments": ("write_pipelined (enrollment/storage/enrollments.py",),
        "keeping outcomes, seats, places in the feed": (
            "_take_seats (worker/processing/persist.py",
            "_store_outcomes (worker/processing/transaction.py",
            "assign_positions (enrollment/storage/events.py",
        ),
        "beginning and committing": ("Sessions.begin (", "Sessions.read ("),
        "telling who waits": ("PostCommitNotifier.notify (",),
    }
)
#: The task of the worker.
TASK = ("register.<locals>.process_batch (worker/tasks.py",)
#: Functions by stage of a request in the gateway.
GATEWAY_STAGES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "storing it": ("store_group (intake_store/group_store.py",),
        "ringing": ("BatchPublisher.publish (enrollment/runtime/broker.py",),
        "looking at what became of it": ("Database.read.<locals>.work (api_gateway/database.py",),
    }
)
_REST = "the rest"
#: Event loops of the main threads of the gateway and of the worker.
LOOPS = ("Runner.run (asyncio/runners.py", "asynloop (celery/worker/loops.py")


class ProfilingDenied(Exception):
    """The operating system does not let this user read other processes."""


class StageSamples(NamedTuple):
    """Number of samples of a stage, and of those among them that wait for PostgreSQL."""

    samples: int
    waiting: int


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Profiles one run, since shares hardly differ. Skipped where profiling is denied."""
    try:
        return [*_bulk(servers), *_single(servers, QUICK_ALONE if size.is_quick else ALONE)]
    except ProfilingDenied as refusal:
        return [Figure("where: not found out", "", ours=str(refusal))]


def _bulk(servers: Servers) -> list[Figure]:
    file = repeated(term(), ROWS)
    with servers.database() as url, service(servers, url, workers=1) as made:
        made.load_courses(file.courses)
        with _profiled(made.worker_pids[0]) as stacks:
            seconds = _processing_seconds(made, file)
    stages = _stages(stacks, TASK, WORKER_STAGES)
    total = sum(stage.samples for stage in stages.values())
    per_sample = 1e6 * seconds / len(file.rows) / total
    return [
        Figure("where: a row of a file, while the worker works", "µs", [total * per_sample]),
        *_figures("where: a row", "µs", stages, per_sample),
    ]


def _processing_seconds(made: Service, file: Sample) -> float:
    """Submits a file; returns the seconds from its first claimed batch to its last outcome."""
    done = made.until_ended(made.submit(file.content))
    start, end = (datetime.fromisoformat(done[name]) for name in ("started_at", "finished_at"))
    return (end - start).total_seconds()


def _single(servers: Servers, number: int) -> list[Figure]:
    with servers.database() as url, service(servers, url, workers=1) as made:
        single_latencies(made, number, 0)
        with (
            _profiled(made.gateway_pid) as gateway_stacks,
            _profiled(made.worker_pids[0]) as worker_stacks,
        ):
            latencies = single_latencies(made, number, 1)
    mean = sum(latencies) / number
    gateway = _stages(gateway_stacks, (), GATEWAY_STAGES)
    worker = _stages(worker_stacks, TASK, WORKER_STAGES)
    gateway.pop(_REST, None)
    gateway_sample, worker_sample = mean / _samples(gateway_stacks), mean / _samples(worker_stacks)
    known = gateway_sample * sum(stage.samples for stage in gateway.values())
    known += worker_sample * sum(stage.samples for stage in worker.values())
    return [
        Figure("where: a single alone, all of it", "ms", [mean]),
        *_figures("where: a single, gateway", "ms", gateway, gateway_sample),
        *_figures("where: a single, worker", "ms", worker, worker_sample),
        Figure(
            "where: a single, HTTP, Redis, Celery, from thread to thread",
            "ms",
            [mean - known],
        ),
    ]


def _samples(stacks: Mapping[tuple[str, ...], int]) -> int:
    """Returns the number of samples: in each one the main thread is inside its event loop."""
    return sum(n for stack, n in stacks.items() if any(f.startswith(LOOPS) for f in stack))


def _figures(
    name: str, unit: str, stages: Mapping[str, StageSamples], per_sample: float
) -> Iterator[Figure]:
    """Yields a figure for each stage, the longest first."""
    for stage, (samples, waiting) in sorted(stages.items(), key=lambda one: -one[1].samples):
        note = f"{waiting * per_sample:.2g} {unit} of it PostgreSQL's" if waiting else ""
        yield Figure(f"{name}: {stage}", unit, [samples * per_sample], ours=note)


def _stages(
    stacks: Mapping[tuple[str, ...], int],
    within: Sequence[str],
    stages: Mapping[str, Sequence[str]],
) -> dict[str, StageSamples]:
    """Counts the samples of each stage, among the stacks that contain a function of `within`."""
    samples: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    for stack, number in stacks.items():
        if within and not any(frame.startswith(tuple(within)) for frame in stack):
            continue
        stage = _stage(stack, stages)
        samples[stage] += number
        if any(frame.startswith(WAITS) for frame in stack):
            waiting[stage] += number
    return {stage: StageSamples(number, waiting[stage]) for stage, number in samples.items()}


def _stage(stack: Sequence[str], stages: Mapping[str, Sequence[str]]) -> str:
    for frame in stack:
        for stage, functions in stages.items():
            if frame.startswith(tuple(functions)):
                return stage
    return _REST


@contextmanager
def _profiled(pid: int) -> Iterator[dict[tuple[str, ...], int]]:
    """Samples a process and its children during the block; yields the samples by stack.

    The mapping is filled at the end. Raises ProfilingDenied.
    """
    stacks: dict[tuple[str, ...], int] = {}
    with working_folder() as folder:
        output = folder / "stacks"
        words = ["record", "--pid", pid, "--subprocesses", "--idle", "--nonblocking"]
        words += ["--rate", RATE, "--duration", 3600, "--format", "raw", "--output", output]
        spy = Path(sys.executable).with_name("py-spy")
        profiler = subprocess.Popen(
            [str(word) for word in (spy, *words)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield stacks
        finally:
            profiler.send_signal(signal.SIGINT)
            _, errors = profiler.communicate(timeout=60)
        if not output.exists():
            raise ProfilingDenied(errors.strip()[-200:])
        for line in output.read_text().splitlines():
            stack, _, number = line.rpartition(" ")
            stacks[tuple(stack.split(";"))] = int(number)
