"""Measures pages of all enrollments, the first one and one far behind it."""

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench import table_filler
from bench.stack import Servers, Service, Size, service
from bench.table import Figure

ENROLLMENTS, QUICK_ENROLLMENTS = 10_000_000, 100_000
#: The page far behind, counted from 1, and the rows of a page.
PAGE, QUICK_PAGE, ROWS = 10_000, 500, 100
#: Rows of the pages by which the far one is reached.
STEP_ROWS = 1_000
REQUESTS = 50
AT_MOST_MS, AT_MOST_TIMES = 20.0, 2.0


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures both pages alternately, one request after the other."""
    enrollments = QUICK_ENROLLMENTS if size.is_quick else ENROLLMENTS
    page = QUICK_PAGE if size.is_quick else PAGE
    with servers.database() as url:
        table_filler.prepare(url)
        table_filler.add_enrollments(url, enrollments)
        with service(servers, url) as made:
            cursor = _cursor_after(made, (page - 1) * ROWS)
            pairs = [
                (_milliseconds(made, None), _milliseconds(made, cursor)) for _ in range(REQUESTS)
            ]
    first, far = ([pair[side] for pair in pairs] for side in (0, 1))
    name = f"pages: of {enrollments:,} enrollments,"
    return [
        Figure(f"{name} the first {ROWS}", "ms", first, at_most=AT_MOST_MS),
        Figure(f"{name} page {page:,}", "ms", far, at_most=AT_MOST_MS),
        Figure(
            f"{name} page {page:,}, time of the first",
            "times",
            [there / here for here, there in pairs],
            at_most=AT_MOST_TIMES,
        ),
    ]


def _cursor_after(made: Service, rows: int) -> str:
    """Returns the cursor of the page that begins after so many rows."""
    cursor: str | None = None
    for passed in range(0, rows, STEP_ROWS):
        body = _page(made, cursor, min(STEP_ROWS, rows - passed))
        cursor = parse_qs(urlsplit(body["next"]).query)["cursor"][0]
    assert cursor is not None
    return cursor


def _milliseconds(made: Service, cursor: str | None) -> float:
    start = time.perf_counter()
    body = _page(made, cursor, ROWS)
    seconds = time.perf_counter() - start
    if len(body["results"]) != ROWS:
        raise RuntimeError("the page is not full")
    return seconds * 1000


def _page(made: Service, cursor: str | None, rows: int) -> dict[str, Any]:
    parameters = {"page_size": str(rows), **({} if cursor is None else {"cursor": cursor})}
    answer = made.http.get("/enrollments", params=parameters)
    body: dict[str, Any] = answer.raise_for_status().json()
    return body
