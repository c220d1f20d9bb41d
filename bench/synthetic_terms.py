"""Generates a term of any length by repeating rows for other learners."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from bench.samples import Sample


def repeated(sample: Sample, rows: int) -> Sample:
    """Returns that many rows of a repeated term, with the expected outcomes."""
    term = sample.rows
    content = io.StringIO()
    table = csv.DictWriter(content, list(term[0]), lineterminator="\n")
    table.writeheader()
    made = list(_rows(term, rows))
    table.writerows(made)
    expected = None
    if sample.expected is not None:
        expected = expected_end(made, sample.courses).outcomes
        if expected_end(term, sample.courses).outcomes != sample.expected:
            raise RuntimeError("the reference rules do not give the outcomes of the sample")
    return Sample(
        f"{rows:,} rows of {sample.name}", sample.courses, content.getvalue().encode(), expected
    )


def _rows(term: Sequence[Mapping[str, str]], rows: int) -> Iterator[dict[str, str]]:
    for number in range(rows):
        repetition, position = divmod(number, len(term))
        row = dict(term[position])
        row["user"] += f"r{repetition}" if repetition else ""
        yield row


class End(NamedTuple):
    """The expected result of a term: outcomes by code, and whether each enrollment is active."""

    outcomes: dict[str, int]
    #: By learner and course.
    active: dict[tuple[str, str], bool]


def expected_end(rows: Sequence[Mapping[str, str]], courses: bytes) -> End:
    """Returns the result by a reference implementation of the rules for such rows.

    `courses` is NDJSON.
    """
    known = {one["course_id"]: one for one in map(json.loads, courses.splitlines())}
    active: dict[tuple[str, str], bool] = {}
    counts: Counter[str] = Counter()
    for row in rows:
        pair, wanted = (row["user"], row["course_id"]), row["is_active"] == "true"
        outcome = _outcome(active.get(pair), known[row["course_id"]], row)
        counts[outcome] += 1
        if outcome != "refused":
            active[pair] = wanted
    return End(dict(counts), active)


def _outcome(was: bool | None, course: Mapping[str, Any], row: Mapping[str, str]) -> str:  # noqa: FBT001
    if row["is_active"] != "true":
        return "unchanged" if was is False else "deactivated"
    if was:
        return "unchanged"
    if not _is_open(course, row["requested_at"]):
        return "refused"
    return "enrolled" if was is None else "reactivated"


def _is_open(course: Mapping[str, Any], requested_at: str) -> bool:
    opens, closes = course.get("enrollment_start"), course.get("enrollment_end")
    if not requested_at:
        return closes is None  # requested now, long after the term
    moment = datetime.fromisoformat(requested_at)
    after = opens is None or moment > datetime.fromisoformat(opens)
    return after and (closes is None or moment < datetime.fromisoformat(closes))
