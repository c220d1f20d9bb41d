"""Measures rows per second through one worker.

Baselines: plain SQL, and Flask with a Celery task per row.
"""

import csv
import io
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg

from bench.naive.servers import naive
from bench.process_stats import cpu_seconds, with_children
from bench.progress_query import counting, plain
from bench.samples import Sample, term
from bench.stack import Servers, Size, service
from bench.synthetic_terms import repeated
from bench.table import Figure, rate
from enrollment.storage.bulk.array_params import array_text
from worker.processing.processor import ROWS_PER_TRANSACTION

ROWS, BATCH_ROWS = 100_000, 1_000
#: Rows of the Celery baseline, whose rate does not depend on the number of rows.
NAIVE_ROWS, QUICK_NAIVE_ROWS = 3_000, 1_000
AT_LEAST_PERCENT, AT_LEAST_TIMES = 20.0, 30.0
#: Outcomes that have an event each.
CHANGES = ("enrolled", "reactivated", "mode_changed", "deactivated", "updated")

_TABLE = """
CREATE TABLE plain (
    username text NOT NULL,
    course_id text NOT NULL,
    mode text NOT NULL,
    is_active boolean NOT NULL,
    asked_at timestamptz NOT NULL
)
"""
_KEY = "ALTER TABLE plain ADD PRIMARY KEY (username, course_id)"
_UPSERT = """
INSERT INTO plain (username, course_id, mode, is_active, asked_at)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::boolean[], %s::timestamptz[])
ON CONFLICT (username, course_id) DO UPDATE
SET mode = excluded.mode, is_active = excluded.is_active, asked_at = excluded.asked_at
"""


class BulkRate(NamedTuple):
    """Rows per second: while the worker works, and from the first byte of the upload to done."""

    worker: float
    wall: float
    #: CPU time of the worker per row, in microseconds.
    cpu: float


class BaselineRates(NamedTuple):
    """Rows per second of the baselines."""

    upsert: float
    copy: float
    naive: float


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures on an empty database each time, alternating with the baselines."""
    sample = repeated(term(), ROWS)
    batches, copied = _plain_batches(sample.rows), _plain_rows(sample.rows)
    some = repeated(term(), QUICK_NAIVE_ROWS if size.is_quick else NAIVE_ROWS)
    ours, baseline = [], []
    for _ in range(size.runs):
        ours.append(_service_rate(servers, sample))
        baseline.append(
            BaselineRates(
                upsert=_upsert_rate(servers, batches, len(sample.rows)),
                copy=_copy_rate(servers, copied, len(sample.rows)),
                naive=_naive_rate(servers, some, len(some.rows)),
            )
        )
    return _figures(sample.name, ours, baseline)


def _figures(
    name: str, ours: Sequence[BulkRate], baseline: Sequence[BaselineRates]
) -> list[Figure]:
    wall = [pace.wall for pace in ours]
    upsert, naive_pace = [one.upsert for one in baseline], [one.naive for one in baseline]
    worker, beside = [pace.worker for pace in ours], rate(upsert, "rows/s")
    return [
        Figure(
            f"bulk: {name}, of plain upsert",
            "%",
            [100 * a / b for a, b in zip(wall, upsert, strict=True)],
            at_least=AT_LEAST_PERCENT,
            ours=rate(wall, "rows/s"),
            baseline=beside,
        ),
        Figure(
            "bulk: of Flask and Celery",
            "x",
            [a / b for a, b in zip(wall, naive_pace, strict=True)],
            at_least=AT_LEAST_TIMES,
            ours=rate(wall, "rows/s"),
            baseline=rate(naive_pace, "rows/s"),
        ),
        Figure("bulk: from POST to done", "rows/s", wall, baseline=beside),
        Figure("bulk: while the worker works", "rows/s", worker, baseline=beside),
        Figure("bulk: worker CPU a row", "µs", [pace.cpu for pace in ours]),
        Figure("bulk: COPY of the same rows", "rows/s", [one.copy for one in baseline]),
    ]


def _service_rate(servers: Servers, sample: Sample) -> BulkRate:
    """Measures the rate between the first and the last transaction, and that seen by the client."""
    total = len(sample.rows)
    with (
        servers.database() as url,
        service(servers, url, workers=1) as made,
        counting(url) as events,
    ):
        made.load_courses(sample.courses)
        pids, before = with_children(made.worker_pids), events()
        start_seconds, cpu = time.perf_counter(), cpu_seconds(pids)
        done = made.until_ended(made.submit(sample.content))
        wall, cpu = time.perf_counter() - start_seconds, cpu_seconds(pids) - cpu
        _check(done, sample, total, events() - before)
    start, end = (datetime.fromisoformat(done[name]) for name in ("started_at", "finished_at"))
    last = total % ROWS_PER_TRANSACTION or ROWS_PER_TRANSACTION
    return BulkRate((total - last) / (end - start).total_seconds(), total / wall, 1e6 * cpu / total)


def _check(done: dict[str, Any], sample: Sample, total: int, events: int) -> None:
    """Raises RuntimeError for wrong outcomes, or events that do not match them."""
    counts = {name: number for name, number in done["counts"].items() if number}
    expected = sample.expected or {k: v for k, v in counts.items() if k != "total"}
    if counts != {**expected, "total": total}:
        raise RuntimeError(f"the outcomes are wrong: {counts}, not {expected}")
    changes = sum(counts.get(name, 0) for name in CHANGES)
    if events != changes:
        raise RuntimeError(f"{changes} changes, but {events} events")


def _plain_batches(rows: Sequence[dict[str, str]]) -> list[list[str]]:
    """Returns statement parameters per batch.

    Of two rows with one key the later is used, since a statement cannot write a row twice.
    """
    batches = []
    for start in range(0, len(rows), BATCH_ROWS):
        some = {(r["user"], r["course_id"]): r for r in rows[start : start + BATCH_ROWS]}
        columns = zip(*_cells(list(some.values())), strict=True)
        batches.append([array_text(list(column)) for column in columns])
    return batches


def _plain_rows(rows: Sequence[dict[str, str]]) -> bytes:
    """Returns the rows as CSV for COPY."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_cells(rows))
    return text.getvalue().encode()


def _cells(rows: Sequence[dict[str, str]]) -> list[tuple[str, ...]]:
    now = datetime.now(UTC).isoformat()
    return [
        (r["user"], r["course_id"], r["mode"] or "audit", r["is_active"], r["requested_at"] or now)
        for r in rows
    ]


def _upsert_rate(servers: Servers, batches: Sequence[Sequence[str]], total: int) -> float:
    """Writes the rows by plain upserts with a commit per batch; returns rows per second."""
    with servers.empty_database() as url, psycopg.connect(plain(url)) as connection:
        connection.execute(_TABLE)
        connection.execute(_KEY)
        connection.commit()
        start = time.perf_counter()
        for batch in batches:
            connection.execute(_UPSERT, batch, prepare=True)
            connection.commit()
        return total / (time.perf_counter() - start)


def _copy_rate(servers: Servers, rows: bytes, total: int) -> float:
    """Writes the rows by one COPY into a table without a key; returns rows per second."""
    with servers.empty_database() as url, psycopg.connect(plain(url)) as connection:
        connection.execute(_TABLE)
        connection.commit()
        start = time.perf_counter()
        with connection.cursor().copy("COPY plain FROM STDIN (FORMAT csv)") as copy:
            copy.write(rows)
        connection.commit()
        return total / (time.perf_counter() - start)


def _naive_rate(servers: Servers, sample: Sample, total: int) -> float:
    """Sends the file to Flask, which runs a Celery task per row; returns rows per second."""
    with naive(servers, sample.courses, workers=1) as other:
        start = time.perf_counter()
        other.http.post("/submissions", content=sample.content).raise_for_status()
        other.wait_for_batch(total)
        return total / (time.perf_counter() - start)
