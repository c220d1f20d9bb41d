"""Files to measure with: real registrations where they are at hand, else such as are alike."""

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
    """A file, the courses that it names, and what must come of it where that is known."""

    name: str
    courses: bytes
    content: bytes
    expected: dict[str, int] | None

    @property
    def rows(self) -> list[dict[str, str]]:
        """The rows as a CSV reader gives them."""
        return list(csv.DictReader(io.StringIO(self.content.decode())))


def term() -> Sample:
    """The registrations of the Open University, or a made-up term of the same size."""
    if not OULAD.is_dir():
        return _made_up()
    expected: dict[str, Any] = json.loads((OULAD / "expected.json").read_text())
    return Sample(
        "OULAD",
        (OULAD / "courses.ndjson").read_bytes(),
        (OULAD / "enrollments.csv").read_bytes(),
        expected["first_run"],
    )


def course_ids() -> list[str]:
    """The courses of the files that are made up."""
    return [f"course-v1:Bench+C{number:02d}+2026" for number in range(COURSES)]


def courses() -> bytes:
    """Those courses, open to all, one a line."""
    return "\n".join(json.dumps({"course_id": course_id}) for course_id in course_ids()).encode()


def _made_up() -> Sample:
    """Three of four rows register, one of four withdraws who registered before."""
    chance = random.Random(1)
    known, lines = course_ids(), [HEADER]
    pairs: list[tuple[str, str]] = []
    for number in range(ROWS):
        asked = _FIRST_DAY + timedelta(minutes=number % 1000)
        if number % 4 == 3:
            (user, course_id), word = chance.choice(pairs), "false"
        else:
            user, course_id = f"ou{chance.randrange(LEARNERS)}", chance.choice(known)
            pairs.append((user, course_id))
            word = "true"
        lines.append(f"{user},{course_id},audit,{word},{asked:%Y-%m-%dT%H:%M:%SZ}\n")
    return Sample("made up (OULAD is not here)", courses(), "".join(lines).encode(), None)


def long_file(rows: int) -> Iterator[bytes]:
    """A CSV file of learners who each register once, in pieces."""
    known = course_ids()
    yield b"user,course_id,mode,is_active\n"
    step = 10_000
    for start in range(0, rows, step):
        yield "".join(
            f"learner{number:08d},{known[number % COURSES]},audit,true\n"
            for number in range(start, min(start + step, rows))
        ).encode()


def write_long_file(path: Path, rows: int) -> None:
    """The same, on disk."""
    with path.open("wb") as file:
        file.writelines(long_file(rows))
