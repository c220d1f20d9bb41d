"""Rows a second through one worker, beside plain SQL and beside a task for each."""

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
from bench.stack import Ground, Size, service
from bench.synthetic_terms import repeated
from bench.table import Figure, rate
from enrollment.storage.bulk.array_params import array_text
from worker.processing.processor import BATCHES_PER_TRANSACTION

ROWS, BATCH_ROWS = 100_000, 1_000
#: A task for each row is slow, and its pace does not depend on how many there are.
NAIVE_ROWS, QUICK_NAIVE_ROWS = 3_000, 1_000
AT_LEAST_PERCENT, AT_LEAST_TIMES = 20.0, 30.0
#: Outcomes that are changes, and therefore have an event each.
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


class Pace(NamedTuple):
    """Rows a second: while the worker works, and from the upload's first byte to done."""

    worker: float
    wall: float
    #: Microseconds of processor time that the worker spent on a row.
    cpu: float


class Beside(NamedTuple):
    """Rows a second of the baselines."""

    upsert: float
    copy: float
    naive: float


def measure(ground: Ground, size: Size) -> list[Figure]:
    """Fresh records each time, alternating with the baselines."""
    sample = repeated(term(), ROWS)
    batches, copied = _plain_batches(sample.rows), _plain_rows(sample.rows)
    some = repeated(term(), QUICK_NAIVE_ROWS if size.is_quick else NAIVE_ROWS)
    ours, theirs = [], []
    for _ in range(size.runs):
        ours.append(_through_a_worker(ground, sample))
        theirs.append(
            Beside(
                upsert=_plainly(ground, batches, len(sample.rows)),
                copy=_copied(ground, copied, len(sample.rows)),
                naive=_a_task_each(ground, some, len(some.rows)),
            )
        )
    return _figures(sample.name, ours, theirs)


def _figures(name: str, ours: Sequence[Pace], theirs: Sequence[Beside]) -> list[Figure]:
    wall = [pace.wall for pace in ours]
    upsert, naive_pace = [one.upsert for one in theirs], [one.naive for one in theirs]
    worker, beside = [pace.worker for pace in ours], rate(upsert, "rows/s")
    return [
        Figure(
            f"bulk: {name}, of plain upsert",
            "%",
            [100 * a / b for a, b in zip(wall, upsert, strict=True)],
            at_least=AT_LEAST_PERCENT,
            ours=rate(wall, "rows/s"),
            theirs=beside,
        ),
        Figure(
            "bulk: of Flask and Celery",
            "x",
            [a / b for a, b in zip(wall, naive_pace, strict=True)],
            at_least=AT_LEAST_TIMES,
            ours=rate(wall, "rows/s"),
            theirs=rate(naive_pace, "rows/s"),
        ),
        Figure("bulk: from POST to done", "rows/s", wall, theirs=beside),
        Figure("bulk: while the worker works", "rows/s", worker, theirs=beside),
        Figure("bulk: worker CPU a row", "µs", [pace.cpu for pace in ours]),
        Figure("bulk: COPY of the same rows", "rows/s", [one.copy for one in theirs]),
    ]


def _through_a_worker(ground: Ground, sample: Sample) -> Pace:
    """By the worker's clock from the first batches in hand to the last, and by the client's."""
    total = len(sample.rows)
    with (
        ground.database() as url,
        service(ground, url, workers=1) as made,
        counting(url) as events,
    ):
        made.load_courses(sample.courses)
        pids, before = with_children(made.worker_pids), events()
        begin, spent = time.perf_counter(), cpu_seconds(pids)
        done = made.until_done(made.submit(sample.content))
        wall, spent = time.perf_counter() - begin, cpu_seconds(pids) - spent
        _check(done, sample, total, events() - before)
    begun, ended = (datetime.fromisoformat(done[name]) for name in ("started_at", "finished_at"))
    together = BATCHES_PER_TRANSACTION * BATCH_ROWS
    last = total % together or together
    return Pace((total - last) / (ended - begun).total_seconds(), total / wall, 1e6 * spent / total)


def _check(done: dict[str, Any], sample: Sample, total: int, events: int) -> None:
    """Speed counts only where the outcomes are right."""
    counts = {name: number for name, number in done["counts"].items() if number}
    expected = sample.expected or {k: v for k, v in counts.items() if k != "total"}
    if counts != {**expected, "total": total}:
        raise RuntimeError(f"the outcomes are wrong: {counts}, not {expected}")
    changes = sum(counts.get(name, 0) for name in CHANGES)
    if events != changes:
        raise RuntimeError(f"{changes} changes, but {events} events")


def _plain_batches(rows: Sequence[dict[str, str]]) -> list[list[str]]:
    """Ready arrays; one statement cannot write a row twice, so of two the later is kept."""
    batches = []
    for start in range(0, len(rows), BATCH_ROWS):
        some = {(r["user"], r["course_id"]): r for r in rows[start : start + BATCH_ROWS]}
        columns = zip(*_cells(list(some.values())), strict=True)
        batches.append([array_text(list(column)) for column in columns])
    return batches


def _plain_rows(rows: Sequence[dict[str, str]]) -> bytes:
    """A ready file for COPY."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_cells(rows))
    return text.getvalue().encode()


def _cells(rows: Sequence[dict[str, str]]) -> list[tuple[str, ...]]:
    now = datetime.now(UTC).isoformat()
    return [
        (r["user"], r["course_id"], r["mode"] or "audit", r["is_active"], r["requested_at"] or now)
        for r in rows
    ]


def _plainly(ground: Ground, batches: Sequence[Sequence[str]], total: int) -> float:
    """The least that any program must do to keep these rows, with a commit a batch."""
    with ground.empty_database() as url, psycopg.connect(plain(url)) as connection:
        connection.execute(_TABLE)
        connection.execute(_KEY)
        connection.commit()
        begin = time.perf_counter()
        for batch in batches:
            connection.execute(_UPSERT, batch, prepare=True)
            connection.commit()
        return total / (time.perf_counter() - begin)


def _copied(ground: Ground, rows: bytes, total: int) -> float:
    """The fastest way in that PostgreSQL has: one COPY, one commit, and no key to look up."""
    with ground.empty_database() as url, psycopg.connect(plain(url)) as connection:
        connection.execute(_TABLE)
        connection.commit()
        begin = time.perf_counter()
        with connection.cursor().copy("COPY plain FROM STDIN (FORMAT csv)") as copy:
            copy.write(rows)
        connection.commit()
        return total / (time.perf_counter() - begin)


def _a_task_each(ground: Ground, sample: Sample, total: int) -> float:
    """The file to Flask, a Celery task and a transaction for each of its rows."""
    with naive(ground, sample.courses, workers=1) as other:
        begin = time.perf_counter()
        other.http.post("/submissions", content=sample.content).raise_for_status()
        other.wait_for_batch(total)
        return total / (time.perf_counter() - begin)
