"""A term cut into files that may be processed at the same time, and its expected result."""

import csv
import io
from typing import NamedTuple
from zlib import crc32

from bench import samples
from bench.synthetic_terms import End, expected_end


class Term(NamedTuple):
    """Files of rows; all rows of one enrollment are in one file, in their order."""

    name: str
    courses: bytes
    files: list[bytes]
    rows: int
    end: End


def term_in_files(count: int, *, share: int = 1) -> Term:
    """Returns the OULAD registrations, or a generated term, of one in `share` enrollments."""
    sample = samples.term()
    rows = [row for row in sample.rows if _number(row) % share == 0]
    if sample.expected is None:  # the clocks of generated rows run in circles
        rows.sort(key=lambda row: row["requested_at"])
    end = expected_end(rows, sample.courses)
    if sample.expected is not None and share == 1 and end.outcomes != sample.expected:
        raise RuntimeError("the reference rules do not give the outcomes of the sample")
    pieces: list[list[dict[str, str]]] = [[] for _ in range(count)]
    for row in rows:
        pieces[_number(row) // share % count].append(row)
    files = [_as_csv(piece) for piece in pieces if piece]
    return Term(sample.name, sample.courses, files, len(rows), end)


def _number(row: dict[str, str]) -> int:
    """Returns a number of an enrollment that is the same in each run."""
    return crc32(f"{row['user']} {row['course_id']}".encode())


def _as_csv(rows: list[dict[str, str]]) -> bytes:
    content = io.StringIO()
    table = csv.DictWriter(content, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return content.getvalue().encode()
