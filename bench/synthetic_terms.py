"""A term of any length: the same rows again, for other learners."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from bench.samples import Sample


def repeated(sample: Sample, rows: int) -> Sample:
    """So many rows of a term that happens again and again, and what must come of them."""
    term = sample.rows
    content = io.StringIO()
    table = csv.DictWriter(content, list(term[0]), lineterminator="\n")
    table.writeheader()
    courses = [json.loads(line) for line in sample.courses.splitlines()]
    known = {one["course_id"]: one for one in courses}
    made = list(_rows(term, rows))
    table.writerows(made)
    expected = None
    if sample.expected is not None:
        expected = _outcomes(made, known)
        if _outcomes(term, known) != sample.expected:
            raise RuntimeError("the rules checked with here are not those of the sample")
    return Sample(
        f"{rows:,} rows of {sample.name}", sample.courses, content.getvalue().encode(), expected
    )


def _rows(term: Sequence[Mapping[str, str]], rows: int) -> Iterator[dict[str, str]]:
    for number in range(rows):
        again, place = divmod(number, len(term))
        row = dict(term[place])
        row["user"] += f"r{again}" if again else ""
        yield row


def _outcomes(
    rows: Sequence[Mapping[str, str]], courses: Mapping[str, Mapping[str, Any]]
) -> dict[str, int]:
    """The rules as far as such rows need them, written apart from ours."""
    active: dict[tuple[str, str], bool] = {}
    counts: Counter[str] = Counter()
    for row in rows:
        pair, wanted = (row["user"], row["course_id"]), row["is_active"] == "true"
        outcome = _outcome(active.get(pair), courses[row["course_id"]], row)
        counts[outcome] += 1
        if outcome != "refused":
            active[pair] = wanted
    return dict(counts)


def _outcome(was: bool | None, course: Mapping[str, Any], row: Mapping[str, str]) -> str:  # noqa: FBT001
    if row["is_active"] != "true":
        return "unchanged" if was is False else "deactivated"
    if was:
        return "unchanged"
    if not _is_open(course, row["requested_at"]):
        return "refused"
    return "enrolled" if was is None else "reactivated"


def _is_open(course: Mapping[str, Any], asked: str) -> bool:
    opens, closes = course.get("enrollment_start"), course.get("enrollment_end")
    if not asked:
        return closes is None  # asked now, long after the term
    moment = datetime.fromisoformat(asked)
    after = opens is None or moment > datetime.fromisoformat(opens)
    return after and (closes is None or moment < datetime.fromisoformat(closes))
