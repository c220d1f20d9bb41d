"""The stored form of a batch of file rows, and how rows are decoded from it.

A payload is the unchanged text of the rows after one line of numbers: the line of the file where
the text begins, then the lines (from 0, in the text) that belong to no record because a quote in
them is never closed.
"""

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from schemas.encoding.compact import pack, unpack
from schemas.encoding.i_json import InvalidJson, loads
from schemas.files.csv_rows import (
    CsvColumns,
    LenientDialect,
    columns_of,
    fast_reader,
    recognized_cells,
    require_learner,
    row_request,
)
from schemas.files.formats.applicability import NotApplicable
from schemas.findings import Finding, Rule, finding
from schemas.identity.damaged_ids import is_damaged_id
from schemas.requests.near_miss import REQUEST_MEMBERS, unknown_members
from schemas.requests.parsed import InvalidRequest, ParsedRequest
from schemas.requests.schema import load_request, without_absent

CSV_ROWS, NDJSON_ROWS, JSON_ROWS = "csv", "ndjson", "json"
EMPTY_PAYLOAD: Mapping[str, object] = MappingProxyType({})
#: Longest row of a file that is read (in CSV: characters): reading a row takes as long as it is.
MAX_ROW_BYTES = 65_536
#: Maximum length of an unvalidated name of a learner or a course in an outcome.
_MAX_UNVALIDATED_NAME = 255


class ParsedRow(NamedTuple):
    """One row of a file: a request, or the findings about it."""

    #: In the file as sent, from 1; in a JSON array, the index + 1.
    line: int
    request: ParsedRequest | None
    findings: tuple[Finding, ...] | None
    #: The cells as sent, of a CSV file.
    cells: list[str] | None
    #: Members of a row that is invalid, as far as they can be read.
    unvalidated: Mapping[str, object] = EMPTY_PAYLOAD
    #: Set if the row asks for nothing here; it has neither a request nor findings.
    not_applicable: NotApplicable | None = None
    #: A finding that counts only if it is true of learners: on a damaged username, unless a learner
    #: of exactly that name exists; `contradiction`, if that learner has another e-mail.
    doubt: Finding | None = None

    @property
    def user(self) -> str | None:
        """Username or e-mail of the learner, if it can be read."""
        if self.request is not None:
            return self.request.username or self.request.email
        return self._plain("user") or self._plain("email")

    @property
    def course_id(self) -> str | None:
        """Course of the row, if it can be read."""
        return self._plain("course_id") if self.request is None else self.request.course_id

    @property
    def members(self) -> Mapping[str, object]:
        """Learner and course of the row, as members of a body."""
        request = self.request
        if request is None:
            return self.unvalidated
        return {
            "user": request.username,
            "email": request.email,
            "course_id": request.course_id,
        }

    def _plain(self, name: str) -> str | None:
        value = self.unvalidated.get(name)
        fits = (
            isinstance(value, str)
            and 0 < len(value) <= _MAX_UNVALIDATED_NAME
            and value.isprintable()
        )
        return str(value) if fits else None


class RowOptions(NamedTuple):
    """Options of an upload that concern its rows."""

    #: The course of CSV rows that have no column for one.
    course_id: str | None = None
    #: Members of JSON rows, in lower case, that may look like ones that are read.
    ignored: frozenset[str] = frozenset()


NO_ROW_OPTIONS = RowOptions()


def encode_rows(text: bytes, first_line: int, unclosed: Sequence[int] = ()) -> bytes:
    """Returns the payload of some rows."""
    numbers = b" ".join(b"%d" % number for number in (first_line, *unclosed))
    return pack(numbers + b"\n" + text)


class SkippedRows:
    """Indexes of rows that are not to be read; counts the rows as they are read."""

    def __init__(self, indexes: Collection[int]) -> None:
        self._indexes = frozenset(indexes)
        self._next = 0

    def is_next(self) -> bool:
        """Advances by one row, and returns whether it is to be skipped."""
        self._next += 1
        return self._next - 1 in self._indexes


def decode_rows(
    payload: bytes,
    encoding: str,
    header: str | None = None,
    skipped: Collection[int] = (),
    options: RowOptions = NO_ROW_OPTIONS,
) -> Iterator[ParsedRow]:
    """Decodes rows with native columns; an invalid row has findings and affects no other.

    Rows at the indexes `skipped` have neither a request nor findings.
    """
    first_line, unclosed, text = read_payload(payload)
    skips = SkippedRows(skipped) if skipped else None
    if encoding != CSV_ROWS:
        return _json_rows(text, first_line, skips, options.ignored)
    columns, course_id = columns_of(require_header(header)), options.course_id
    parse = _CsvRows(columns, fast_reader(columns, course_id), course_id, skips)
    return parse.rows(text.decode(), first_line, unclosed)


def first_line_of(payload: bytes) -> int:
    """Returns the line of the file where the rows begin."""
    return read_payload(payload)[0]


def read_payload(payload: bytes) -> tuple[int, list[int], bytes]:
    """Returns the first line, the lines that belong to no record, and the text of a payload."""
    numbers, _, text = unpack(payload).partition(b"\n")
    first_line, *unclosed = map(int, numbers.split())
    return first_line, unclosed, text


def require_header(header: str | None) -> str:
    """Returns the header. Raises ValueError for None."""
    if header is None:
        message = "rows of a CSV file cannot be decoded without its header"
        raise ValueError(message)
    return header


def _json_rows(
    text: bytes, first_line: int, skips: SkippedRows | None, ignored: Collection[str]
) -> Iterator[ParsedRow]:
    for line, raw in enumerate(text.split(b"\n"), first_line):
        if not raw or raw.isspace():
            continue
        if skips is not None and skips.is_next():
            yield ParsedRow(line, None, None, None)
        else:
            yield _json_row(raw, line, ignored)


def _json_row(raw: bytes, line: int, ignored: Collection[str]) -> ParsedRow:
    body: object = None
    if len(raw) > MAX_ROW_BYTES:
        return ParsedRow(line, None, (too_long_row(raw[:400].decode(errors="replace")),), None)
    try:
        body = loads(raw)
        check_members(body, ignored)
        request = require_learner(load_request(body))
        return ParsedRow(line, request, None, None, doubt=damage_of(request))
    except InvalidJson as error:
        return ParsedRow(line, None, (invalid_json(raw, error),), None)
    except InvalidRequest as error:
        given = without_absent(body) if isinstance(body, dict) else EMPTY_PAYLOAD
        return ParsedRow(line, None, error.findings, None, given)


def check_members(body: object, ignored: Collection[str]) -> None:
    """Raises InvalidRequest for members of a request that look like others, and are not read."""
    if type(body) is not dict or REQUEST_MEMBERS.issuperset(body):
        return
    if findings := unknown_members(body, ignored):
        raise InvalidRequest(findings)


class _CsvRows(NamedTuple):
    """Parses the rows of a CSV file."""

    columns: CsvColumns
    read: Callable[[list[str]], ParsedRequest | None]
    course_id: str | None
    skips: SkippedRows | None

    def rows(self, text: str, first_line: int, unclosed: Sequence[int]) -> Iterator[ParsedRow]:
        """Yields the rows of a text."""
        for line, lines, unclosed_line in split_at_unclosed(text, first_line, unclosed):
            if unclosed_line is None:
                yield from self._part(lines, line)
                continue
            if self.skips is not None:
                self.skips.is_next()
            yield ParsedRow(line, None, (unclosed_row(unclosed_line),), [unclosed_line])

    def _part(self, lines: Iterator[str], first_line: int) -> Iterator[ParsedRow]:
        columns, read, _, skips = self
        reader = csv.reader(lines, LenientDialect, delimiter=columns.delimiter)
        blanks = columns.blanks
        line = first_line
        for cells in reader:
            if skips is not None and "".join(cells).strip(blanks) and skips.is_next():
                yield ParsedRow(line, None, None, cells)
            elif (request := read(cells)) is not None:
                yield ParsedRow(line, request, None, cells)
            elif "".join(cells).strip(blanks):
                yield self._row(line, cells)
            line = first_line + reader.line_num

    def _row(self, line: int, cells: list[str]) -> ParsedRow:
        columns = self.columns
        try:
            request = row_request(cells, columns, self.course_id)
            return ParsedRow(line, request, None, cells, doubt=damage_of(request))
        except InvalidRequest as error:
            return ParsedRow(line, None, error.findings, cells, recognized_cells(cells, columns))


def split_at_unclosed(
    text: str, first_line: int, unclosed: Sequence[int]
) -> Iterator[tuple[int, Iterator[str], str | None]]:
    """Splits a text at the lines with a quote that is never closed.

    Yields (first line, lines, None) for the text between them, (line, (), text) for each of them.
    """
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


def too_long_row(beginning: str) -> Finding:
    """Returns the finding on a row that is too long to be read."""
    return finding("", beginning, "length", f"a row may have at most {MAX_ROW_BYTES} bytes")


def unclosed_row(cell: str) -> Finding:
    """Returns the finding on a line that belongs to no record: too long, or an unclosed quote."""
    if len(cell) > MAX_ROW_BYTES:
        return too_long_row(cell)
    message = "a quote in this line is never closed, or the record is too long"
    return finding("", cell, "quote", message)


def damage_of(request: ParsedRequest) -> Finding | None:
    """Returns the finding on a username that looks damaged. The fast parsers accept none."""
    username = request.username
    if username is None or not is_damaged_id(username):
        return None
    return finding("user", username, "damaged_id")


def invalid_json(raw: bytes, error: InvalidJson) -> Finding:
    """Returns the finding on a line that is not valid JSON."""
    message = f"{error.message}: column {error.column}"
    return finding("", raw[:400].decode(errors="replace"), "json", message)


def contradiction_of(request: ParsedRequest) -> Finding | None:
    """Returns the finding on an e-mail that the learner of the row may not have."""
    if request.username is None or request.email is None:
        return None
    return finding("email", request.email, Rule.CONTRADICTION)
