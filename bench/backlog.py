"""How fast a backlog of single requests is worked off: six workers against one.

After any hiccup all that waits is overdue, and every worker reaches for the oldest first.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import redis

from api_gateway.auth.caller import Caller
from api_gateway.intake.single_requests import SingleRequest, store_singles
from bench.progress_query import counting
from bench.stack import COURSE, Ground, Size, process
from bench.table import Figure, rate
from enrollment.domain.codes import CallerKind
from enrollment.domain.model import Course, Mode
from enrollment.storage import courses
from enrollment.storage.engine.sessions import sessions_for
from schemas.requests.parsed import ParsedRequest
from tests.support.servers import create_database, drop_database
from tests.support.temporary_folders import working_folder

BATCHES, QUICK_BATCHES, SINGLES = 12_000, 3_000, 2
MANY, AT_LEAST_TIMES = 6, 1.3
FILLING_THREADS = 4
LOOK_SECONDS = 0.05
#: A backlog that is not worked off by then will not be.
PATIENCE_SECONDS = 300.0
CALLER = Caller("key:bench", CallerKind.SERVER, frozenset({"enroll"}))

ANSWERED = "SELECT count(*) FROM batch WHERE answered_at IS NOT NULL"
ATTEMPTS = "SELECT count(*) FROM batch WHERE attempts > 0 OR parked_at IS NOT NULL"
OVERDUE = "UPDATE batch SET announced_at = announced_at - interval '10 s'"
TAKEN = "SELECT 1000 * extract(epoch FROM max(answered_at) - min(answered_at)) FROM batch"


def measure(ground: Ground, size: Size) -> list[Figure]:
    """Both on copies of one backlog, in turn."""
    batches = QUICK_BATCHES if size.is_quick else BATCHES
    one, many = [], []
    with backlog(ground, batches) as template:
        for _ in range(min(size.runs, 3)):
            one.append(worked_off(ground, template, batches, workers=1))
            many.append(worked_off(ground, template, batches, workers=MANY))
    return [
        Figure(
            f"backlog of {batches:,} batches: {MANY} workers, of one",
            "x",
            [b / a for a, b in zip(one, many, strict=True)],
            at_least=AT_LEAST_TIMES,
            ours=rate(many, "batches/s"),
            theirs=rate(one, "batches/s"),
        )
    ]


@contextmanager
def backlog(ground: Ground, batches: int) -> Iterator[str]:
    """A database in which so many batches of single requests wait, overdue."""
    url = create_database(ground.postgres, template=ground.template.rpartition("/")[2])
    try:
        fill(url, batches)
        yield url
    finally:
        drop_database(ground.postgres, url)


def fill(url: str, batches: int) -> None:
    """Accepts the single requests as a gateway does, without telling any worker."""
    sessions = sessions_for(url, pool_size=FILLING_THREADS)
    with sessions.begin() as session:
        courses.save(session, Course(course_id=COURSE, modes=(Mode(slug="audit"),)))

    def accept(number: int) -> None:
        requests = [
            SingleRequest(CALLER, ParsedRequest(f"u{number}-{one}", None, COURSE), 0.0)
            for one in range(SINGLES)
        ]
        store_singles(sessions, requests, lambda: 0.0)

    with ThreadPoolExecutor(FILLING_THREADS) as pool:
        for _ in pool.map(accept, range(batches)):
            continue
    sessions.dispose()
    with counting(url, f"WITH made AS ({OVERDUE} RETURNING 1) SELECT count(*) FROM made") as age:
        age()


def worked_off(ground: Ground, template: str, batches: int, *, workers: int) -> float:
    """Batches a second, from the first to the last that is completed."""
    url = create_database(ground.postgres, template=template.rpartition("/")[2])
    try:
        with running(ground, url, workers), counting(url, ANSWERED) as answered:
            until = time.monotonic() + PATIENCE_SECONDS
            while answered() < batches and time.monotonic() < until:
                time.sleep(LOOK_SECONDS)
        return _per_second(url, batches)
    finally:
        drop_database(ground.postgres, url)


@contextmanager
def running(ground: Ground, url: str, workers: int) -> Iterator[Sequence[int]]:
    """Workers and a beat, which dispatches what is overdue."""
    with redis.Redis.from_url(ground.redis) as client:
        client.flushdb()
    environment = {
        "ENROLL_DATABASE_URL": url,
        "ENROLL_REDIS_URL": ground.redis,
        "ENROLL_LOG_LEVEL": "warning",
    }
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
    with counting(url, TAKEN) as taken, counting(url, ATTEMPTS) as attempts:
        with counting(url, ANSWERED) as answered:
            if answered() < batches:
                raise RuntimeError(f"{answered()} of {batches} batches were completed")
        if attempts():
            raise RuntimeError(f"{attempts()} batches had failed attempts, and none failed")
        return batches / (taken() / 1000)
