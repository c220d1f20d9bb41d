"""Long generated files, and their progress."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.support.service_processes import ended, open_course

COURSES = 8
#: The header is a line too.
FIRST_LINE = 2
_AT_ONCE = 10_000


class LongFile(NamedTuple):
    """Learners who each enroll in one of a few open courses; a prefix keeps files apart."""

    word: str
    rows: int

    def course(self, number: int) -> str:
        """Returns the course of the n-th row."""
        return f"course-v1:Long+{self.word}{number % COURSES}+2026"

    def courses(self) -> list[str]:
        """Returns all courses of the file."""
        return [self.course(number) for number in range(COURSES)]

    def learner(self, number: int) -> str:
        """Returns the learner of the n-th row."""
        return f"{self.word}{number:08d}"

    def number(self, learner: str) -> int:
        """Returns the row of a learner."""
        return int(learner.removeprefix(self.word))

    def pieces(self) -> Iterator[bytes]:
        """Returns the file as CSV."""
        yield b"user,course_id\n"
        for start in range(0, self.rows, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, self.rows))
            yield "".join(f"{self.learner(n)},{self.course(n)}\n" for n in numbers).encode()

    def hand_in(self, http: httpx.Client, folder: Path) -> str:
        """Creates the courses and sends the compressed file; returns the submission id."""
        made = http.post("/courses", json=list(map(open_course, self.courses())))
        assert made.status_code == 200, made.text
        packed = folder / f"{self.word}.csv.gz"
        with gzip.open(packed, "wb", compresslevel=1) as file:
            file.writelines(self.pieces())
        headers = {"Content-Type": "text/csv", "Content-Encoding": "gzip"}
        with packed.open("rb") as content:
            taken = http.post("/submissions", content=content, headers=headers)
        assert taken.status_code == 202, taken.text
        assert taken.json()["counts"]["total"] == self.rows
        submission_id: str = taken.json()["submission_id"]
        return submission_id


def status(http: httpx.Client, submission_id: str) -> dict[str, Any]:
    """Reads a submission."""
    shown: dict[str, Any] = http.get(f"/submissions/{submission_id}").raise_for_status().json()
    return shown


def until(
    http: httpx.Client, submission_id: str, true: Callable[[dict[str, int]], bool]
) -> dict[str, int]:
    """Polls the counts of a submission until a condition holds; returns them."""
    headers: dict[str, str] = {}
    while True:
        answer = http.get(f"/submissions/{submission_id}", headers=headers)
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            continue
        shown: dict[str, Any] = answer.raise_for_status().json()
        counts: dict[str, int] = shown["counts"]
        if true(counts):
            return counts
        assert shown["finished_at"] is None, f"it ended before that: {shown}"
        headers = {"Prefer": "wait=5", "If-None-Match": answer.headers["ETag"]}


def is_at_work(counts: dict[str, int]) -> bool:
    """Returns whether some requests have outcomes and some do not."""
    return 0 < counts["pending"] < counts["total"]


def cancel(http: httpx.Client, submission_id: str) -> dict[str, Any]:
    """Cancels the rest of a submission; returns its final state."""
    asked = http.post(f"/submissions/{submission_id}/cancel")
    assert asked.status_code == 202, asked.text
    return ended(http, submission_id)


@contextmanager
def at_work(http: httpx.Client, folder: Path, *files: LongFile) -> Iterator[list[str]]:
    """Yields the ids of files in progress; cancels what is left after the block."""
    ids = [file.hand_in(http, folder) for file in files]
    try:
        for each in ids:
            until(http, each, is_at_work)
        yield ids
    finally:
        for each in ids:
            http.post(f"/submissions/{each}/cancel")
            ended(http, each)
