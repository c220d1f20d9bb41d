"""Rows a second through one worker, beside a plain upsert of the same rows."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg

from bench.proc import cpu_seconds, with_children
from bench.samples import Sample, term
from bench.stack import Ground, Size, service
from bench.table import Figure, rate
from enrollment.storage.arrays import array_text

BATCH_ROWS = 1_000
AT_LEAST_PERCENT = 20.0

_TABLE = """
CREATE TABLE plain (
    username text NOT NULL,
    course_id text NOT NULL,
    mode text NOT NULL,
    is_active boolean NOT NULL,
    asked_at timestamptz NOT NULL,
    PRIMARY KEY (username, course_id)
)
"""
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


def measure(ground: Ground, size: Size) -> list[Figure]:
    """Fresh records each time, alternating with the plain upsert."""
    sample = term()
    plain_batches = _plain_batches(sample.rows)
    ours, theirs = [], []
    for _ in range(size.runs):
        ours.append(_through_a_worker(ground, sample))
        theirs.append(_plainly(ground, plain_batches, len(sample.rows)))
    beside = rate(theirs, "rows/s")
    worker, wall = [pace.worker for pace in ours], [pace.wall for pace in ours]
    return [
        Figure(
            f"bulk: {sample.name}, of plain upsert",
            "%",
            [100 * a / b for a, b in zip(worker, theirs, strict=True)],
            at_least=AT_LEAST_PERCENT,
            ours=rate(worker, "rows/s"),
            theirs=beside,
        ),
        Figure("bulk: while the worker works", "rows/s", worker, theirs=beside),
        Figure("bulk: from POST to done", "rows/s", wall, theirs=beside),
        Figure("bulk: worker CPU a row", "µs", [pace.cpu for pace in ours]),
    ]


def _through_a_worker(ground: Ground, sample: Sample) -> Pace:
    """The moments are those at which the first and the last batch were taken in hand."""
    total = len(sample.rows)
    with ground.database() as url, service(ground, url, workers=1) as made:
        made.load_courses(sample.courses)
        pids = with_children(made.worker_pids)
        begin, spent = time.perf_counter(), cpu_seconds(pids)
        done = made.until_done(made.submit(sample.content))
        wall, spent = time.perf_counter() - begin, cpu_seconds(pids) - spent
    _check(done, sample, total)
    begun, ended = (datetime.fromisoformat(done[name]) for name in ("started_at", "finished_at"))
    last = total % BATCH_ROWS or BATCH_ROWS
    return Pace((total - last) / (ended - begun).total_seconds(), total / wall, 1e6 * spent / total)


def _check(done: dict[str, Any], sample: Sample, total: int) -> None:
    """Speed counts only where the outcomes are right."""
    counts = {name: number for name, number in done["counts"].items() if number}
    expected = sample.expected or {k: v for k, v in counts.items() if k != "total"}
    if counts != {**expected, "total": total}:
        raise RuntimeError(f"the outcomes are wrong: {counts}, not {expected}")


def _plain_batches(rows: Sequence[dict[str, str]]) -> list[list[str]]:
    """Ready arrays; one statement cannot write a row twice, so of two the later is kept."""
    now = datetime.now(UTC).isoformat()
    batches = []
    for start in range(0, len(rows), BATCH_ROWS):
        some = {(r["user"], r["course_id"]): r for r in rows[start : start + BATCH_ROWS]}.values()
        cells = [
            (r["user"], r["course_id"], r["mode"] or "audit", r["is_active"], r["requested_at"])
            for r in some
        ]
        columns = [list(column) for column in zip(*cells, strict=True)]
        columns[4] = [moment or now for moment in columns[4]]
        batches.append([array_text(column) for column in columns])
    return batches


def _plainly(ground: Ground, batches: Sequence[Sequence[str]], total: int) -> float:
    """The least that any program must do to keep these rows, with a commit a batch."""
    with ground.empty_database() as url:
        plain_url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        with psycopg.connect(plain_url) as connection:
            connection.execute(_TABLE)
            connection.commit()
            begin = time.perf_counter()
            for batch in batches:
                connection.execute(_UPSERT, batch, prepare=True)
                connection.commit()
            return total / (time.perf_counter() - begin)
