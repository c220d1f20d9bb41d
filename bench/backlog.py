"""Measures how fast a backlog of single requests is processed: six workers against one.

After an outage all waiting batches are overdue, and every worker claims the oldest first.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from api_gateway.auth.caller import Caller
from bench.progress_query import counting
from bench.stack import COURSE, Servers, Size, fresh_environment, process
from bench.table import Figure, rate
from enrollment.domain.codes import CallerKind
from enrollment.domain.model import Course, Mode
from enrollment.storage import courses
from enrollment.storage.engine.sessions import sessions_for
from intake_store.group_store import SingleRequest, store_group
from schemas.requests.parsed import ParsedRequest
from tests.support.servers import create_database, drop_database
from tests.support.temporary_folders import working_folder

BATCHES, QUICK_BATCHES, SINGLES = 12_000, 3_000, 2
WORKERS, AT_LEAST_TIMES = 6, 1.3
FILLING_THREADS = 4
POLL_SECONDS = 0.05
#: Seconds after which the measure fails.
TIMEOUT_SECONDS = 300.0
CALLER = Caller("key:bench", CallerKind.SERVER, frozenset({"enroll"}))

COMPLETED = "SELECT count(*) FROM batch WHERE answered_at IS NOT NULL"
ATTEMPTS = "SELECT count(*) FROM batch WHERE attempts > 0 OR parked_at IS NOT NULL"
OVERDUE = """
UPDATE batch
SET announced_at = announced_at - interval '10 s', waiting_since = waiting_since - interval '10 s'
"""
DURATION_MS = "SELECT 1000 * extract(epoch FROM max(answered_at) - min(answered_at)) FROM batch"


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures both on copies of one backlog, alternating."""
    batches = QUICK_BATCHES if size.is_quick else BATCHES
    one, many = [], []
    with backlog(servers, batches) as template:
        for _ in range(min(size.runs, 3)):
            one.append(processing_rate(servers, template, batches, workers=1))
            many.append(processing_rate(servers, template, batches, workers=WORKERS))
    return [
        Figure(
            f"backlog of {batches:,} batches: {WORKERS} workers, of one",
            "x",
            [b / a for a, b in zip(one, many, strict=True)],
            at_least=AT_LEAST_TIMES,
            ours=rate(many, "batches/s"),
            baseline=rate(one, "batches/s"),
        )
    ]


@contextmanager
def backlog(servers: Servers, batches: int) -> Iterator[str]:
    """Yields the URL of a database in which that many batches of single requests are overdue."""
    url = create_database(servers.postgres, template=servers.template.rpartition("/")[2])
    try:
        fill(url, batches)
        yield url
    finally:
        drop_database(servers.postgres, url)


def fill(url: str, batches: int) -> None:
    """Stores the single requests as a gateway does, without dispatching them."""
    sessions = sessions_for(url, pool_size=FILLING_THREADS)
    with sessions.begin() as session:
        courses.save(session, Course(course_id=COURSE, modes=(Mode(slug="audit"),)))

    def accept(number: int) -> None:
        requests = [
            SingleRequest(CALLER, ParsedRequest(f"u{number}-{one}", None, COURSE), 0.0)
            for one in range(SINGLES)
        ]
        store_group(sessions, requests, lambda: 0.0)

    with ThreadPoolExecutor(FILLING_THREADS) as pool:
        for _ in pool.map(accept, range(batches)):
            continue
    sessions.dispose()
    with counting(
        url, f"WITH aged AS ({OVERDUE} RETURNING 1) SELECT count(*) FROM aged"
    ) as make_overdue:
        make_overdue()


def processing_rate(servers: Servers, template: str, batches: int, *, workers: int) -> float:
    """Returns batches per second, from the first to the last that is completed."""
    url = create_database(servers.postgres, template=template.rpartition("/")[2])
    try:
        with running(servers, url, workers), counting(url, COMPLETED) as completed:
            until = time.monotonic() + TIMEOUT_SECONDS
            while completed() < batches and time.monotonic() < until:
                time.sleep(POLL_SECONDS)
        return _per_second(url, batches)
    finally:
        drop_database(servers.postgres, url)


@contextmanager
def running(servers: Servers, url: str, workers: int) -> Iterator[Sequence[int]]:
    """Runs workers, and Beat to re-dispatch overdue batches; yields process ids."""
    environment = fresh_environment(servers, url)
    with ExitStack() as stack:
        folder = stack.enter_context(working_folder(on_disk=True))
        programs: list[tuple[str, ...]] = [("worker",)] * workers
        programs.append(("api_gateway.cli", "beat"))
        yield [
            stack.enter_context(
                process(*words, environment=environment, log=folder / f"{number}.log")
            ).pid
            for number, words in enumerate(programs)
        ]


def _per_second(url: str, batches: int) -> float:
    with counting(url, DURATION_MS) as duration, counting(url, ATTEMPTS) as attempts:
        with counting(url, COMPLETED) as completed:
            if completed() < batches:
                raise RuntimeError(f"{completed()} of {batches} batches were completed")
        if attempts():
            raise RuntimeError(f"{attempts()} batches had failed attempts, and none failed")
        return batches / (duration() / 1000)
