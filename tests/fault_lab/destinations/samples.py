"""What is handed in while a destination is made to fail: a real file, or some hundred rows."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.service_processes import open_course

OULAD = Path(__file__).parents[4] / "shared" / "data" / "oulad"
_MODES = [{"slug": "audit", "name": "Audit"}, {"slug": "verified", "name": "Verified"}]
_WINDOW = ("enrollment_start", "enrollment_end")


class FailingSample(NamedTuple):
    """Courses and files that are handed in one after another."""

    courses: Sequence[dict[str, Any]]
    files: Sequence[bytes]

    @property
    def rows(self) -> int:
        """Number of rows of all files."""
        return sum(file.count(b"\n") - 1 for file in self.files)

    @property
    def open_courses(self) -> list[dict[str, Any]]:
        """The courses without windows: the LMS takes what was allowed here at its time."""
        return [
            {name: value for name, value in course.items() if name not in _WINDOW}
            for course in self.courses
        ]


def oulad() -> FailingSample:
    """Returns the registrations of a university over two years, 42,665 rows."""
    lines = (OULAD / "courses.ndjson").read_text().splitlines()
    return FailingSample(list(map(json.loads, lines)), [(OULAD / "enrollments.csv").read_bytes()])


def small(learners: int) -> FailingSample:
    """Returns two files of learners in two courses, and two that change a third of these each."""
    courses = [f"course-v1:Uni+Lms{number}+2026" for number in (1, 2)]
    keys = [(f"learner{number}", course) for number in range(learners) for course in courses]
    files = [
        [(*key, "audit", "true") for key in keys[:learners]],
        [(*key, "audit", "true") for key in keys[learners:]],
        [(*key, "verified", "true") for key in keys[::3]],
        [(*key, "", "false") for key in keys[1::3]],
    ]
    return FailingSample(
        [open_course(course, course_modes=_MODES) for course in courses],
        [_csv(rows) for rows in files],
    )


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["user", "course_id", "mode", "is_active"])
    writer.writerows(rows)
    return text.getvalue().encode()
