"""Measures the latency of single requests beside lists, the purge and many long polls."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg

from bench.latency_under_load import singles_load
from bench.load import Load, LoadResult, run_load
from bench.progress_query import counting, plain
from bench.samples import courses, long_file
from bench.stack import BASE, Servers, Service, Size, service
from bench.table import Figure, rate
from enrollment.runtime.broker import PURGE_QUEUE, TaskName
from worker.celery_app import make_celery_app

AT_MOST_MS = 300.0
#: Lists that clients read without pause, each by two of them.
LISTS = ("submissions?limit=100", "submissions?state=queued", "changes?since=0&limit=100")
CLIENTS_PER_LIST = 2
LONG_POLLS, POLL_WAIT_SECONDS = 1_500, 10
#: Seconds for which the other load runs before and after that of the singles.
MARGIN_SECONDS = 2.0

#: Copies the one single of a new service: batch and submission.
_COPY = """
WITH old AS (SELECT * FROM batch ORDER BY id LIMIT 1),
new AS (
    INSERT INTO batch (lane, alone, requests, payload, announced_at, waiting_since, answered_at,
        outcomes, tally)
    SELECT lane, alone, requests, payload, announced_at, waiting_since,
        answered_at - %(days)s * interval '1 day' - n * interval '1 second', outcomes, tally
    FROM old, generate_series(1, %(number)s) AS n RETURNING id, answered_at
)
INSERT INTO submission (id, kind, caller, caller_kind, received_at, published_at, total, batch_id,
    position)
SELECT md5('copy' || new.id)::uuid, kind, caller, caller_kind, new.answered_at, new.answered_at, 1,
    new.id, 0
FROM new, (SELECT kind, caller, caller_kind FROM submission LIMIT 1) AS template
"""
_MAKE_PURGE_DUE = "UPDATE maintenance SET ended_at = ended_at - interval '2 days'"
_SUBMISSIONS = "SELECT count(*) FROM submission"


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures on new databases, each with one gateway and one worker for everything."""
    number = f"{size.listed:,}"
    return [
        _figure(f"six clients list {number} submissions", [_beside_lists(servers, size)]),
        _figure(f"the purge of {number} submissions", [_beside_purge(servers, size)]),
        _figure(f"{LONG_POLLS:,} long polls of a file", [_beside_long_polls(servers, size)]),
    ]


def _figure(others: str, results: list[LoadResult]) -> Figure:
    return Figure(
        f"a single beside {others}, p99",
        "ms",
        [one.p99 for one in results],
        at_most=AT_MOST_MS,
        ours=f"p50 {rate([one.p50 for one in results], 'ms')}",
        baseline=f"longest {rate([one.longest for one in results], 'ms')}",
    )


@contextmanager
def _filled_service(servers: Servers, size: Size, *, days: int) -> Iterator[tuple[Service, str]]:
    """Runs a service with submissions that are some days old; yields it and its database."""
    with servers.database() as url, service(servers, url, workers=1) as made:
        with psycopg.connect(plain(url), autocommit=True) as connection:
            connection.execute(_COPY, {"number": size.listed, "days": days})
            connection.execute("VACUUM (ANALYZE)")
        yield made, url


def _beside_lists(servers: Servers, size: Size) -> LoadResult:
    with _filled_service(servers, size, days=0) as (made, _):
        return _singles_beside(
            made, size, [_endless(made, size, path, CLIENTS_PER_LIST) for path in LISTS]
        )


def _beside_purge(servers: Servers, size: Size) -> LoadResult:
    with (
        _filled_service(servers, size, days=60) as (made, url),
        counting(url, _SUBMISSIONS) as left,
    ):
        with psycopg.connect(plain(url), autocommit=True) as connection:
            connection.execute(_MAKE_PURGE_DUE)
        app = make_celery_app(servers.redis)
        app.send_task(TaskName.PURGE.value, queue=PURGE_QUEUE.value)
        app.close()
        result = run_load(singles_load(made, size))
        if left() >= size.listed:
            raise RuntimeError("nothing was purged meanwhile")
    return result


def _beside_long_polls(servers: Servers, size: Size) -> LoadResult:
    with servers.database() as url, service(servers, url, workers=1) as made:
        made.load_courses(courses())
        made.submit(long_file(size.rows))
        last = made.submit(long_file(size.rows))
        polls = _endless(made, size, f"submissions/{last}", LONG_POLLS, wait=POLL_WAIT_SECONDS)
        return _singles_beside(made, size, [polls])


def _endless(made: Service, size: Size, path: str, clients: int, *, wait: int = 0) -> Load:
    """Returns a load of reads that lasts longer than that of the singles."""
    prefer = {"Prefer": f"wait={wait}"} if wait else {}
    return Load(
        made.port,
        f"{BASE}/{path}",
        {**made.headers, **prefer},
        connections=clients,
        seconds=singles_load(made, size).seconds + 2 * MARGIN_SECONDS,
        method="GET",
        wanted=200,
    )


def _singles_beside(made: Service, size: Size, others: list[Load]) -> LoadResult:
    """Runs all loads at once; returns the result of the singles."""
    singles = singles_load(made, size)._replace(warm_up=MARGIN_SECONDS)
    with ThreadPoolExecutor(len(others)) as pool:
        running = [pool.submit(run_load, other) for other in others]
        result = run_load(singles)
        for other in running:
            other.result()
    return result
