"""How the requests of a file are kept in a batch, and read back one by one.

A payload is the very text of its rows behind one line of numbers: the line of the file on
which the text begins, then the lines (counted from 0 in the text) that belong to no record
because a quote in them is never closed.
"""

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from schemas.compact import pack, unpack
from schemas.csv_rows import Columns, columns_of, named, quick_reader, recognized_cells, row_request
from schemas.findings import Finding, finding
from schemas.i_json import InvalidJson, loads
from schemas.parsed import ParsedRequest, ShapeError
from schemas.request_schema import load_request, stated

CSV, NDJSON, JSON = "csv", "ndjson", "json"
NOTHING: Mapping[str, object] = MappingProxyType({})
#: Longest name of a learner or a course that an outcome repeats unread.
_MAX_NAME = 255


class Row(NamedTuple):
    """One row of a file: a request, or what is wrong with it."""

    #: In the file as sent: its first line is 1. In a JSON array, the index and 1.
    line: int
    request: ParsedRequest | None
    findings: tuple[Finding, ...] | None
    #: The row as sent, of a CSV file.
    cells: list[str] | None
    #: What fields hold in a row that cannot be read, as far as that much of it can.
    told: Mapping[str, object] = NOTHING

    @property
    def user(self) -> str | None:
        """Who it is about, by name or e-mail, as far as that can be told."""
        if self.request is not None:
            return self.request.username or self.request.email
        return self._plain("user") or self._plain("email")

    @property
    def course_id(self) -> str | None:
        """Which course it is about, as far as that can be told."""
        return self._plain("course_id") if self.request is None else self.request.course_id

    @property
    def named(self) -> Mapping[str, object]:
        """Whom and what it names, as a body has them."""
        request = self.request
        if request is None:
            return self.told
        return {
            "user": request.username,
            "email": request.email,
            "course_id": request.course_id,
        }

    def _plain(self, name: str) -> str | None:
        value = self.told.get(name)
        fits = isinstance(value, str) and 0 < len(value) <= _MAX_NAME and value.isprintable()
        return str(value) if fits else None


def encode_rows(text: bytes, first_line: int, unclosed: Sequence[int] = ()) -> bytes:
    """The payload of some rows."""
    head = b" ".join(b"%d" % number for number in (first_line, *unclosed))
    return pack(head + b"\n" + text)


class LeftOut:
    """Places of rows that are not read, asked for one after another."""

    def __init__(self, places: Collection[int]) -> None:
        self._places = frozenset(places)
        self._next = 0

    def is_next(self) -> bool:
        """Whether the next row is one of them."""
        self._next += 1
        return self._next - 1 in self._places


def decode_rows(
    payload: bytes,
    encoding: str,
    header: str | None = None,
    left_out: Collection[int] = (),
) -> Iterator[Row]:
    """Read rows of our own columns back; one that cannot be read says why, and harms no other.

    Rows at the places ``left_out`` are there without a request and without findings.
    """
    first_line, unclosed, text = opened(payload)
    missing = LeftOut(left_out) if left_out else None
    if encoding != CSV:
        return _json_rows(text, first_line, missing)
    return _csv_rows(text.decode(), first_line, unclosed, columns_of(given_header(header)), missing)


def first_line_of(payload: bytes) -> int:
    """The line of the file on which the text of some rows begins."""
    return opened(payload)[0]


def opened(payload: bytes) -> tuple[int, list[int], bytes]:
    """Its first line, the lines that belong to no record, and the text."""
    head, _, text = unpack(payload).partition(b"\n")
    first_line, *unclosed = map(int, head.split())
    return first_line, unclosed, text


def given_header(header: str | None) -> str:
    """The header. Raises ValueError where there is none."""
    if header is None:
        message = "rows of a CSV file cannot be read without its header"
        raise ValueError(message)
    return header


def _json_rows(text: bytes, first_line: int, missing: LeftOut | None) -> Iterator[Row]:
    for line, raw in enumerate(text.split(b"\n"), first_line):
        if not raw or raw.isspace():
            continue
        if missing is not None and missing.is_next():
            yield Row(line, None, None, None)
        else:
            yield _json_row(raw, line)


def _json_row(raw: bytes, line: int) -> Row:
    body: object = None
    try:
        body = loads(raw)
        return Row(line, named(load_request(body)), None, None)
    except InvalidJson as error:
        return Row(line, None, (not_json(raw, error),), None)
    except ShapeError as error:
        told = stated(body) if isinstance(body, dict) else NOTHING
        return Row(line, None, error.findings, None, told)


def _csv_rows(
    text: str,
    first_line: int,
    unclosed: Sequence[int],
    columns: Columns,
    missing: LeftOut | None,
) -> Iterator[Row]:
    read = quick_reader(columns)
    for line, part, given_up in parts(text, first_line, unclosed):
        if given_up is None:
            yield from _csv_part(part, line, columns, read, missing)
            continue
        if missing is not None:
            missing.is_next()
        yield Row(line, None, (unclosed_row(given_up),), [given_up])


def parts(
    text: str, first_line: int, unclosed: Sequence[int]
) -> Iterator[tuple[int, Iterator[str], str | None]]:
    """The text between lines whose quotes never close, and these lines, each for itself."""
    if not unclosed:
        yield first_line, io.StringIO(text, newline=""), None
        return
    lines = list(io.StringIO(text, newline=""))
    begin = 0
    for end in unclosed:
        yield first_line + begin, iter(lines[begin:end]), None
        yield first_line + end, iter(()), lines[end].rstrip("\r\n")
        begin = end + 1
    yield first_line + begin, iter(lines[begin:]), None


def unclosed_row(cell: str) -> Finding:
    """What is wrong with a line whose quote never closes."""
    message = "a quote in this line is never closed, or the record is too long"
    return finding("", cell, "quote", message)


def _csv_part(
    lines: Iterator[str],
    first_line: int,
    columns: Columns,
    read: Callable[[list[str]], ParsedRequest | None],
    missing: LeftOut | None,
) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=columns.delimiter)
    blanks = columns.blanks
    line = first_line
    for cells in reader:
        if missing is not None and "".join(cells).strip(blanks) and missing.is_next():
            yield Row(line, None, None, cells)
        elif (request := read(cells)) is not None:
            yield Row(line, request, None, cells)
        elif "".join(cells).strip(blanks):
            yield _csv_row(line, cells, columns)
        line = first_line + reader.line_num


def _csv_row(line: int, cells: list[str], columns: Columns) -> Row:
    try:
        return Row(line, row_request(cells, columns), None, cells)
    except ShapeError as error:
        return Row(line, None, error.findings, cells, recognized_cells(cells, columns))


def not_json(raw: bytes, error: InvalidJson) -> Finding:
    """What is wrong with a line that is no JSON."""
    message = f"{error.message}: column {error.column}"
    return finding("", raw[:400].decode(errors="replace"), "json", message)
