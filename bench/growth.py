"""Rows a second through one worker while the tables grow from nothing to ten million."""

from collections.abc import Iterator
from datetime import datetime
from hashlib import md5
from itertools import count
from statistics import median
from typing import NamedTuple

import psycopg

from bench import plot, table_filler
from bench.progress_query import plain
from bench.samples import course_ids, courses
from bench.stack import Ground, Size, service
from bench.table import Figure, rate
from worker.processing.processor import BATCHES_PER_TRANSACTION

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
QUICK_SIZES = SIZES[:3]
ROWS, QUICK_ROWS = 40_000, 10_000
#: Rows of a batch; some batches share a transaction.
BATCH_ROWS = 1_000
#: How many rows after a registration its withdrawal stands in the file.
LATER = 2_000
AT_LEAST_PERCENT = 80.0


class Pace(NamedTuple):
    """Rows a second, and what PostgreSQL logs for each: bytes, and pages that go in whole."""

    rate: float
    log: float
    pages: float


def measure(ground: Ground, size: Size) -> list[Figure]:
    """One run at each size; at the last one several, in turn with an empty table.

    Dropping the one before makes PostgreSQL begin a checkpoint, after which the first write to
    each page logs it whole; so a file goes before that is told by itself.
    """
    sizes = QUICK_SIZES if size.is_quick else SIZES
    rows = QUICK_ROWS if size.is_quick else ROWS
    paces: dict[int, list[Pace]] = {}
    gigabytes = {}
    before, run = 0, count()
    fresh: list[Pace] = []
    empty: list[Pace] = []
    with ground.database() as url:
        table_filler.begin(url)
        for enrollments in sizes:
            gigabytes[enrollments] = table_filler.grow(url, before, enrollments)
            if enrollments != sizes[-1]:
                paces[enrollments] = [_pace(ground, url, enrollments, rows, next(run))]
            before = enrollments
        paces[before] = []
        for _ in range(size.runs):
            fresh.append(_pace(ground, url, before, rows, next(run)))
            paces[before].append(_pace(ground, url, before, rows, next(run)))
            empty.append(_empty_pace(ground, rows))
    rates = {number: [pace.rate for pace in some] for number, some in paces.items()}
    empty_rates = [pace.rate for pace in empty]
    plot.draw({number: median(some) for number, some in rates.items()}, median(empty_rates))
    named = f"with {before:,} enrollments"
    return [
        *_figures(rates, empty_rates, gigabytes),
        Figure(
            f"growth: {named}, the first file after a checkpoint",
            "rows/s",
            [pace.rate for pace in fresh],
            ours=_logging(fresh),
        ),
        Figure(
            f"growth: log a row, {named}",
            "bytes",
            [pace.log for pace in paces[before]],
            ours=_logging(paces[before]),
            theirs=_logging(empty),
        ),
    ]


def _figures(
    rates: dict[int, list[float]], empty: list[float], gigabytes: dict[int, float]
) -> list[Figure]:
    greatest = max(rates)
    shares = [100 * full / none for full, none in zip(rates[greatest], empty, strict=True)]
    return [
        Figure(
            f"growth: {greatest:,} enrollments, of an empty table",
            "%",
            shares,
            at_least=AT_LEAST_PERCENT,
            ours=rate(rates[greatest], "rows/s"),
            theirs=rate(empty, "rows/s"),
        ),
        *(
            Figure(
                f"growth: with {number:,} enrollments",
                "rows/s",
                some,
                ours=f"{gigabytes[number]:.2f} GB",
            )
            for number, some in rates.items()
        ),
    ]


def _logging(paces: list[Pace]) -> str:
    log, pages = (median(values) for values in list(zip(*paces, strict=True))[1:])
    return f"{log:,.0f} bytes and {pages:.2g} whole pages logged a row"


def _empty_pace(ground: Ground, rows: int) -> Pace:
    with ground.database() as url:
        table_filler.begin(url)
        return _pace(ground, url, 0, rows, 0)


def _pace(ground: Ground, url: str, enrollments: int, rows: int, run: int) -> Pace:
    """From the moment the first batch was taken in hand to that of the last, not counted."""
    known = table_filler.learners_of(enrollments)
    with service(ground, url, workers=1) as made:
        made.load_courses(courses())
        before = _logged(url)
        done = made.until_done(made.submit("".join(_lines(rows, known, run)).encode()))
    counts = done["counts"]
    if (counts["enrolled"], counts["deactivated"]) != (rows * 3 // 4, rows // 4):
        raise RuntimeError(f"the outcomes are wrong: {counts}")
    begun, ended = (datetime.fromisoformat(done[name]) for name in ("started_at", "finished_at"))
    log, pages = (after - was for after, was in zip(_logged(url), before, strict=True))
    counted = rows - BATCHES_PER_TRANSACTION * BATCH_ROWS
    return Pace(counted / (ended - begun).total_seconds(), log / rows, pages / rows)


def _logged(url: str) -> tuple[float, float]:
    """Bytes and whole pages that the server has logged."""
    with psycopg.connect(plain(url)) as connection:
        row = connection.execute("SELECT wal_bytes, wal_fpi FROM pg_stat_wal").fetchone()
    if row is None:
        raise RuntimeError("PostgreSQL does not say what it logs")
    return float(row[0]), float(row[1])


def _lines(rows: int, known: int, run: int) -> Iterator[str]:
    """Of four rows two register newcomers, one a learner who is known, one withdraws a newcomer.

    The run makes newcomers new and sends the known to courses where they are not yet.
    """
    here = course_ids()
    yield "user,course_id,mode,is_active\n"
    for number in range(0, rows, 4):
        for one in (number, number + 1):
            yield f"{_newcomer(run, one)},{here[one % len(here)]},audit,true\n"
        friend = number // 4 * known // (rows // 4) + 1
        course_id = here[(friend + run) % len(here)]
        yield f"{table_filler.past_username(friend)},{course_id},audit,true\n"
        gone = number - LATER if number >= LATER else number + 1
        yield f"{_newcomer(run, gone)},{here[gone % len(here)]},audit,false\n"


def _newcomer(run: int, number: int) -> str:
    return "u" + md5(f"new-{run}-{number}".encode()).hexdigest()[:16]
