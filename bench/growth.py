"""Measures rows per second through one worker while the tables grow to ten million rows."""

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
from bench.stack import Servers, Size, service
from bench.table import Figure, rate
from worker.processing.processor import ROWS_PER_TRANSACTION

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
QUICK_SIZES = SIZES[:3]
ROWS, QUICK_ROWS = 40_000, 10_000
#: Rows per batch.
BATCH_ROWS = 1_000
#: Rows between a registration and its withdrawal in the file.
WITHDRAWAL_DISTANCE = 2_000
AT_LEAST_PERCENT = 80.0


class FileCost(NamedTuple):
    """Rows per second, and the WAL that PostgreSQL writes per row: bytes, and full-page images."""

    rate: float
    log: float
    pages: float


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures one run at each size; at the last one several, alternating with an empty table.

    Dropping the previous database makes PostgreSQL start a checkpoint, after which the first write
    to each page logs a full-page image. So the first file after it is reported separately.
    """
    sizes = QUICK_SIZES if size.is_quick else SIZES
    rows = QUICK_ROWS if size.is_quick else ROWS
    costs: dict[int, list[FileCost]] = {}
    gigabytes = {}
    before, run = 0, count()
    after_checkpoint: list[FileCost] = []
    empty: list[FileCost] = []
    with servers.database() as url:
        table_filler.prepare(url)
        for enrollments in sizes:
            gigabytes[enrollments] = table_filler.grow(url, before, enrollments)
            if enrollments != sizes[-1]:
                costs[enrollments] = [_file_cost(servers, url, enrollments, rows, next(run))]
            before = enrollments
        costs[before] = []
        for _ in range(size.runs):
            after_checkpoint.append(_file_cost(servers, url, before, rows, next(run)))
            costs[before].append(_file_cost(servers, url, before, rows, next(run)))
            empty.append(_empty_table_cost(servers, rows))
    rates = {number: [cost.rate for cost in some] for number, some in costs.items()}
    empty_rates = [cost.rate for cost in empty]
    plot.draw({number: median(some) for number, some in rates.items()}, median(empty_rates))
    named = f"with {before:,} enrollments"
    return [
        *_figures(rates, empty_rates, gigabytes),
        Figure(
            f"growth: {named}, the first file after a checkpoint",
            "rows/s",
            [cost.rate for cost in after_checkpoint],
            ours=_wal_text(after_checkpoint),
        ),
        Figure(
            f"growth: log a row, {named}",
            "bytes",
            [cost.log for cost in costs[before]],
            ours=_wal_text(costs[before]),
            baseline=_wal_text(empty),
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
            baseline=rate(empty, "rows/s"),
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


def _wal_text(costs: list[FileCost]) -> str:
    log, pages = (median(values) for values in list(zip(*costs, strict=True))[1:])
    return f"{log:,.0f} bytes and {pages:.2g} whole pages logged a row"


def _empty_table_cost(servers: Servers, rows: int) -> FileCost:
    with servers.database() as url:
        table_filler.prepare(url)
        return _file_cost(servers, url, 0, rows, 0)


def _file_cost(servers: Servers, url: str, enrollments: int, rows: int, run: int) -> FileCost:
    """Processes a file; the rate counts from the first transaction to the start of the last."""
    known = table_filler.learners_of(enrollments)
    with service(servers, url, workers=1) as made:
        made.load_courses(courses())
        before = _wal_totals(url)
        done = made.until_ended(made.submit("".join(_lines(rows, known, run)).encode()))
    counts = done["counts"]
    if (counts["enrolled"], counts["deactivated"]) != (rows * 3 // 4, rows // 4):
        raise RuntimeError(f"the outcomes are wrong: {counts}")
    start, end = (datetime.fromisoformat(done[name]) for name in ("started_at", "finished_at"))
    log, pages = (after - earlier for after, earlier in zip(_wal_totals(url), before, strict=True))
    counted = rows - ROWS_PER_TRANSACTION
    return FileCost(counted / (end - start).total_seconds(), log / rows, pages / rows)


def _wal_totals(url: str) -> tuple[float, float]:
    """Returns the WAL bytes and full-page images that the server has written so far."""
    with psycopg.connect(plain(url)) as connection:
        row = connection.execute("SELECT wal_bytes, wal_fpi FROM pg_stat_wal").fetchone()
    if row is None:
        raise RuntimeError("pg_stat_wal is empty")
    return float(row[0]), float(row[1])


def _lines(rows: int, known: int, run: int) -> Iterator[str]:
    """Yields a CSV file: of four rows two enroll new learners, one a known one, one withdraws.

    `run` makes the new learners unique, and enrolls known ones in courses they are not in yet.
    """
    course_keys = course_ids()
    yield "user,course_id,mode,is_active\n"
    for number in range(0, rows, 4):
        for one in (number, number + 1):
            yield f"{_new_username(run, one)},{course_keys[one % len(course_keys)]},audit,true\n"
        known_number = number // 4 * known // (rows // 4) + 1
        course_id = course_keys[(known_number + run) % len(course_keys)]
        yield f"{table_filler.past_username(known_number)},{course_id},audit,true\n"
        withdrawn = number - WITHDRAWAL_DISTANCE if number >= WITHDRAWAL_DISTANCE else number + 1
        course_id = course_keys[withdrawn % len(course_keys)]
        yield f"{_new_username(run, withdrawn)},{course_id},audit,false\n"


def _new_username(run: int, number: int) -> str:
    return "u" + md5(f"new-{run}-{number}".encode()).hexdigest()[:16]
