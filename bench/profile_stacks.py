"""Where the time goes: stacks of the gateway and of the worker, looked at while they work.

Shares of a bulk file, and the stages of a single alone, in microseconds a row and milliseconds
a single. For information: whoever looks takes some of the machine, so rates are those of the
other measures.
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
from bench.singles import ALONE, QUICK_ALONE, waited_for
from bench.stack import Ground, Service, Size, service
from bench.synthetic_terms import repeated
from bench.table import Figure
from tests.support.temporary_folders import working_folder

#: Looks a second.
RATE = 250
#: Whoever stands in one of these waits for PostgreSQL, or hands something to it.
_WAITING = ("_Impatient.wait (enrollment/storage/engine/engines.py",)
#: What a task does; the outermost of these functions in a stack says which it is.
_WORK: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "claiming": (
            "_claim (worker/processing/processor.py",
            "Processor._successors (",
            "Processor._goes_on (",
            "clock (enrollment/storage/engine/sessions.py",
            "find_all (enrollment/storage/submissions.py",
            "block_deletion (enrollment/storage/learners.py",
        ),
        "reading rows": (
            "decode (worker/processing/decoded_claim.py",
            "_settle (worker/processing/decoded_claim.py",
        ),
        "reading ahead": ("Prefetcher.fetch_next (", "FetchedBatches.decode ("),
        "looking up what stands": ("load (worker/processing/load.py",),
        "judging": ("PreparedBatches.decide (",),
        "making events": (
            "_events (worker/processing/persist.py",
            "rendered (enrollment/storage/events.py",
        ),
        "making enrollments": (
            "_writes (worker/processing/persist.py",
            "rendered (enrollment/storage/enrollments.py",
        ),
        "making outcomes": ("PreparedBatches.encode (",),
        "writing learners": ("insert_new (enrollment/storage/learners.py",),
        "writing events": ("adding (enrollment/storage/events.py",),
        "writing enrollments": ("writing (enrollment/storage/enrollments.py",),
        "keeping outcomes, seats, places in the feed": (
            "_take_seats (worker/processing/persist.py",
            "_store_outcomes (worker/processing/transaction.py",
            "take_positions (enrollment/storage/events.py",
        ),
        "beginning and committing": ("Sessions.begin (", "Sessions.read ("),
        "telling who waits": ("Announcer.tell (",),
    }
)
_TASK = ("register.<locals>.process_batch (worker/tasks.py",)
_GATEWAY: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "storing it": ("store_singles (api_gateway/intake/single_requests.py",),
        "ringing": ("Publisher.publish (enrollment/runtime/broker.py",),
        "looking at what became of it": ("Database.read.<locals>.work (api_gateway/database.py",),
    }
)
_REST = "the rest"
#: Where the main threads of the gateway and of the worker are from beginning to end.
_LOOPS = ("Runner.run (asyncio/runners.py", "asynloop (celery/worker/loops.py")


class MayNotLook(Exception):
    """This user may not look at other processes of theirs."""


class Part(NamedTuple):
    """Looks that found a part at work, and those among them that found it waiting."""

    looks: int
    waiting: int


def measure(ground: Ground, size: Size) -> list[Figure]:
    """One run: shares hardly differ. Skipped where processes may not be looked at."""
    try:
        return [*_bulk(ground), *_single(ground, QUICK_ALONE if size.is_quick else ALONE)]
    except MayNotLook as refusal:
        return [Figure("where: not found out", "", ours=str(refusal))]


def _bulk(ground: Ground) -> list[Figure]:
    sample = repeated(term(), ROWS)
    with ground.database() as url, service(ground, url, workers=1) as made:
        made.load_courses(sample.courses)
        with _watched(made.worker_pids[0]) as stacks:
            seconds = _worked(made, sample)
    found = _parts(stacks, _TASK, _WORK)
    all_looks = sum(part.looks for part in found.values())
    a_look = 1e6 * seconds / len(sample.rows) / all_looks
    return [
        Figure("where: a row of a file, while the worker works", "µs", [all_looks * a_look]),
        *_figures("where: a row", "µs", found, a_look),
    ]


def _worked(made: Service, sample: Sample) -> float:
    """Seconds from the first batch in hand to the last answered."""
    done = made.until_done(made.submit(sample.content))
    begun, ended = (datetime.fromisoformat(done[name]) for name in ("started_at", "finished_at"))
    return (ended - begun).total_seconds()


def _single(ground: Ground, number: int) -> list[Figure]:
    with ground.database() as url, service(ground, url, workers=1) as made:
        waited_for(made, number, 0)
        with _watched(made.gateway_pid) as here, _watched(made.worker_pids[0]) as there:
            taken = waited_for(made, number, 1)
    each = sum(taken) / number
    gateway, worker = _parts(here, (), _GATEWAY), _parts(there, _TASK, _WORK)
    gateway.pop(_REST, None)
    at_gateway, at_worker = each / _looks(here), each / _looks(there)
    known = at_gateway * sum(part.looks for part in gateway.values())
    known += at_worker * sum(part.looks for part in worker.values())
    return [
        Figure("where: a single alone, all of it", "ms", [each]),
        *_figures("where: a single, gateway", "ms", gateway, at_gateway),
        *_figures("where: a single, worker", "ms", worker, at_worker),
        Figure(
            "where: a single, HTTP, Redis, Celery, from thread to thread",
            "ms",
            [each - known],
        ),
    ]


def _looks(stacks: Mapping[tuple[str, ...], int]) -> int:
    """How often was looked: each look found the main thread in its loop."""
    return sum(n for stack, n in stacks.items() if any(f.startswith(_LOOPS) for f in stack))


def _figures(name: str, unit: str, found: Mapping[str, Part], a_look: float) -> Iterator[Figure]:
    """The parts, the longest first."""
    for part, (looks, waiting) in sorted(found.items(), key=lambda one: -one[1].looks):
        note = f"{waiting * a_look:.2g} {unit} of it PostgreSQL's" if waiting else ""
        yield Figure(f"{name}: {part}", unit, [looks * a_look], ours=note)


def _parts(
    stacks: Mapping[tuple[str, ...], int],
    within: Sequence[str],
    parts: Mapping[str, Sequence[str]],
) -> dict[str, Part]:
    """How many looks found each part at work, of those that found one of ``within``."""
    looks: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    for stack, number in stacks.items():
        if within and not any(frame.startswith(tuple(within)) for frame in stack):
            continue
        part = _part(stack, parts)
        looks[part] += number
        if any(frame.startswith(_WAITING) for frame in stack):
            waiting[part] += number
    return {part: Part(number, waiting[part]) for part, number in looks.items()}


def _part(stack: Sequence[str], parts: Mapping[str, Sequence[str]]) -> str:
    for frame in stack:
        for part, functions in parts.items():
            if frame.startswith(tuple(functions)):
                return part
    return _REST


@contextmanager
def _watched(pid: int) -> Iterator[dict[tuple[str, ...], int]]:
    """What stacks a process and its children had during the block, and how often.

    Raises MayNotLook.
    """
    stacks: dict[tuple[str, ...], int] = {}
    with working_folder() as folder:
        kept = folder / "stacks"
        words = ["record", "--pid", pid, "--subprocesses", "--idle", "--nonblocking"]
        words += ["--rate", RATE, "--duration", 3600, "--format", "raw", "--output", kept]
        spy = Path(sys.executable).with_name("py-spy")
        looking = subprocess.Popen(
            [str(word) for word in (spy, *words)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield stacks
        finally:
            looking.send_signal(signal.SIGINT)
            _, said = looking.communicate(timeout=60)
        if not kept.exists():
            raise MayNotLook(said.strip()[-200:])
        for line in kept.read_text().splitlines():
            stack, _, number = line.rpartition(" ")
            stacks[tuple(stack.split(";"))] = int(number)
