"""Provides input files: the OULAD registrations where available, else generated ones."""

import csv
import io
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from bench.stack import ROOT

OULAD = ROOT.parent / "shared" / "data" / "oulad"
ROWS, LEARNERS, COURSES = 42_665, 28_785, 22
_FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
HEADER = "user,course_id,mode,is_active,requested_at\n"


class Sample(NamedTuple):
    """A file, its courses, and its expected outcomes by code where they are known."""

    name: str
    courses: bytes
    content: bytes
    expected: dict[str, int] | None

    @property
    def rows(self) -> list[dict[str, str]]:
        """The parsed rows of the CSV file."""
        return list(csv.DictReader(io.StringIO(self.content.decode())))


def term() -> Sample:
    """Returns the registrations of the Open University, or a generated term of the same size."""
    if not OULAD.is_dir():
        return _generated()
    expected: dict[str, Any] = json.loads((OULAD / "expected.json").read_text())
    return Sample(
        "OULAD",
        (OULAD / "courses.ndjson").read_bytes(),
        (OULAD / "enrollments.csv").read_bytes(),
        expected["first_run"],
    )


def course_ids() -> list[str]:
    """Returns the course ids of generated files."""
    return [f"course-v1:Bench+C{number:02d}+2026" for number in range(COURSES)]


def courses() -> bytes:
    """Returns the courses of generated files as NDJSON, open for enrollment."""
    return "\n".join(json.dumps({"course_id": course_id}) for course_id in course_ids()).encode()


def _generated() -> Sample:
    """Generates a term: three of four rows enroll, the fourth withdraws an earlier enrollment."""
    rng = random.Random(1)
    known, lines = course_ids(), [HEADER]
    pairs: list[tuple[str, str]] = []
    for number in range(ROWS):
        requested_at = _FIRST_DAY + timedelta(minutes=number % 1000)
        if number % 4 == 3:
            (user, course_id), is_active = rng.choice(pairs), "false"
        else:
            user, course_id = f"ou{rng.randrange(LEARNERS)}", rng.choice(known)
            pairs.append((user, course_id))
            is_active = "true"
        lines.append(f"{user},{course_id},audit,{is_active},{requested_at:%Y-%m-%dT%H:%M:%SZ}\n")
    return Sample("made up (OULAD is not here)", courses(), "".join(lines).encode(), None)


def long_file(rows: int) -> Iterator[bytes]:
    """Yields the chunks of a CSV file in which each learner enrolls once."""
    known = course_ids()
    yield b"user,course_id,mode,is_active\n"
    step = 10_000
    for start in range(0, rows, step):
        yield "".join(
            f"learner{number:08d},{known[number % COURSES]},audit,true\n"
            for number in range(start, min(start + step, rows))
        ).encode()


def write_long_file(path: Path, rows: int) -> None:
    """Writes the file of `long_file` to disk."""
    with path.open("wb") as file:
        file.writelines(long_file(rows))
