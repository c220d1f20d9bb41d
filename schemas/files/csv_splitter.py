"""Splits CSV files into batches, between their records."""

import codecs
import csv
import io
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import accumulate

from schemas.files.batch_draft import (
    BatchDraft,
    FileInfo,
    FileOptions,
    check_blank_lines,
    check_rows,
    require_rows,
)
from schemas.files.column_check import check_unread
from schemas.files.csv_rows import (
    EXPECTED_COLUMNS,
    SEPARATOR_LINE,
    CsvColumns,
    LenientDialect,
    is_unclosed,
)
from schemas.files.encodings import detect_encoding
from schemas.files.formats.detect import (
    FORMATS_BY_NAME,
    NATIVE_FORMATS,
    DetectedFormat,
    detect_format,
    footer_of,
    has_course,
)
from schemas.files.formats.reader import FormatReader
from schemas.files.row_payload import CSV_ROWS, encode_rows
from schemas.files.source import (
    ITEM_BYTES,
    MAX_RECORD_CHARS,
    FilePosition,
    Limits,
    UnreadableFile,
    without_bom,
)
from schemas.files.text_lines import MAX_ROW_CHARS, LineReader

#: Lines that a header with quotes may have.
_MAX_HEADER_LINES = 20
#: Each unclosed quote makes the reader backtrack up to `MAX_ROW_CHARS`, so their number is
#: limited: this many, and one more per 1,000 rows.
MAX_UNCLOSED_QUOTES = 50

#: Requests in a batch of rows that may mean a thousand each: no batch has 16,384 or more.
_MAX_BATCH_OF_MANY = 15_000

NO_FILE_OPTIONS = FileOptions()


def split_csv(
    chunks: Iterable[bytes],
    limits: Limits,
    options: FileOptions = NO_FILE_OPTIONS,
    lines_before: int = 0,
) -> tuple[FileInfo, Iterator[BatchDraft]]:
    """Splits a CSV file into batches; the chunks are iterated twice."""
    decoder = codecs.getincrementaldecoder(detect_encoding(chunks, limits))
    lines = LineReader(without_bom(chunks), decoder())
    before, record = _header(lines)
    header, has_course = record.rstrip("\r\n"), options.course_id is not None
    try:
        detected = detect_format(header, options.format, has_course=has_course)
        _check_course(detected, options)
        check_unread(detected, options.ignored)
    except UnreadableFile as error:
        error.line = before + 1 - len(list(io.StringIO(record, newline="")))
        raise
    lines.drop_footer(footer_of(detected.format))
    if not detected.has_header:
        first = list(io.StringIO(record, newline=""))
        lines.put_back(first)
        before -= len(first)
    file_info = FileInfo(CSV_ROWS, detected.header, detected.format)
    first_line = lines_before + before + 1
    splitter = _CsvSplitter(lines, first_line, detected.columns, limits, _counter(detected))
    return file_info, require_rows(splitter.batches())


def _check_course(detected: DetectedFormat, options: FileOptions) -> None:
    """Raises UnreadableFile unless either the rows or the options name the course."""
    if has_course(detected.format, detected.columns):
        check_no_course(options)
    elif options.course_id is None:
        message = (
            f"the rows of this {detected.format} file have no course: "
            "name one with the option course_id"
        )
        raise UnreadableFile("course_missing", message, expected="course_id=…")


def check_no_course(options: FileOptions) -> None:
    """Raises UnreadableFile if the options name a course, for rows that name their own."""
    if options.course_id is not None:
        message = "the rows of this file name their own courses: leave out the option course_id"
        raise UnreadableFile("course_twice", message, expected="no option course_id")


def _counter(detected: DetectedFormat) -> Callable[[list[str]], int] | None:
    """Returns a function that counts the requests of a row; None where each means one."""
    if detected.format in NATIVE_FORMATS or not FORMATS_BY_NAME[detected.format].numbered:
        return None
    return FormatReader(detected.format, detected.columns).count


def _header(lines: Iterator[str]) -> tuple[int, str]:
    """Returns the first record that is not blank, and the number of lines up to its end.

    A first line such as `sep=;`, which is for spreadsheets, is no record.
    """
    number = 0
    for number, line in enumerate(lines, 1):
        if line.strip() and not (number == 1 and SEPARATOR_LINE.fullmatch(line)):
            break
        check_blank_lines(number, 0)
    else:
        raise UnreadableFile("empty", "the file is empty", expected=EXPECTED_COLUMNS)
    first, record = number, line
    while _is_header_open(record, first):
        more = next(lines, None)
        number += 1
        if more is None or number - first == _MAX_HEADER_LINES:
            message = f"a quote of the header, in line {first}, is never closed"
            raise UnreadableFile(
                "unclosed_quotes", message, position=FilePosition(first), expected=EXPECTED_COLUMNS
            )
        record += more
    return number, record


def _is_header_open(record: str, line: int) -> bool:
    if len(record) > MAX_RECORD_CHARS:
        message = f"the header, in line {line}, is longer than {MAX_RECORD_CHARS} characters"
        raise UnreadableFile(
            "unknown_columns", message, position=FilePosition(line), expected=EXPECTED_COLUMNS
        )
    return is_unclosed(record)


class _CsvSplitter:
    """Splits lines between records, where the decoder of the payload finds them to end."""

    def __init__(
        self,
        lines: LineReader,
        first_line: int,
        columns: CsvColumns,
        limits: Limits,
        count: Callable[[list[str]], int] | None = None,
    ) -> None:
        self._lines = lines
        self._first_line = first_line
        self._columns = columns
        self._limits = limits
        self._count = count
        batch_rows = limits.batch_rows
        self._batch_rows = batch_rows if count is None else min(batch_rows, _MAX_BATCH_OF_MANY)
        self._total = 0
        self._blank_lines = 0
        self._unclosed_lines = 0
        self._begin()

    def _begin(self) -> None:
        self._taken: list[str] = []
        self._rows = self._size = 0
        #: Index in `_taken`, and size, at the beginning of the current record.
        self._record = self._record_size = 0
        self._unclosed: list[int] = []

    def batches(self) -> Iterator[BatchDraft]:
        """Yields the batches, in order."""
        while self._lines.has_next():
            plain = self._lines.take_plain() if self._count is None else []
            for _ in self._plain_portions(plain) if plain else self._records():
                if self._rows >= self._batch_rows or self._size >= self._limits.batch_bytes:
                    yield from self._end_batch()
        yield from self._end_batch()

    def _plain_portions(self, lines: list[str]) -> Iterator[None]:
        """Adds lines, each a row or blank; yields after as many as the batch has room for."""
        blanks = self._columns.blanks
        begin = 0
        while part := lines[begin : begin + self._batch_rows - self._rows]:
            sizes = list(accumulate(map(len, part), initial=self._size))
            del part[bisect_left(sizes, self._limits.batch_bytes, lo=1) :]
            rows = len([line for line in part if line.strip(blanks)])
            self._size = sizes[len(part)]
            self._taken += part
            self._rows += rows
            begin += len(part)
            if rows < len(part):
                self._add_blanks(len(part) - rows)
            yield

    def _records(self) -> Iterator[None]:
        """Adds records; yields after each, and ends with the buffered lines.

        A quote that is never closed makes its own line invalid and no other.
        """
        blanks = self._columns.blanks
        self._record, self._record_size = len(self._taken), self._size
        delimiter = self._columns.delimiter
        reader = csv.reader(self._counted_lines(), LenientDialect, delimiter=delimiter)
        self._ended = False
        with suppress(csv.Error):  # a record that is too long is incomplete as well
            for cells in reader:
                if self._ended:
                    break
                begin, self._record = self._record, len(self._taken)
                self._record_size = self._size
                if "".join(cells).strip(blanks):
                    self._rows += 1 if self._count is None else self._count(cells)
                else:
                    self._add_blanks(self._record - begin)
                yield
                if not self._lines.has_buffered:
                    return
        if self._record < len(self._taken):
            self._add_unclosed_line()
            yield

    def _add_blanks(self, lines: int) -> None:
        """Counts lines without content; drops them at once where no row is before them.

        Behind a row they stay, for the numbers of the lines; each then counts as an object, so
        that a batch has few of them.
        """
        self._blank_lines += lines
        check_blank_lines(self._blank_lines, self._total + self._rows)
        if self._rows:
            self._size += lines * ITEM_BYTES
            self._record_size = self._size
            return
        self._first_line += len(self._taken)
        self._taken = []
        self._record = self._size = self._record_size = 0

    def _add_unclosed_line(self) -> None:
        if len(self._taken[self._record]) <= MAX_ROW_CHARS:  # else no line after it is read again
            self._unclosed_lines += 1
        if self._unclosed_lines > MAX_UNCLOSED_QUOTES + self._total // 1_000:
            line = self._first_line + self._record
            message = f"line {line} is one of too many lines with a quote that is never closed"
            raise UnreadableFile(
                "unclosed_quotes", message, position=FilePosition(line), expected=EXPECTED_COLUMNS
            )
        self._lines.put_back(self._taken[self._record + 1 :])
        del self._taken[self._record + 1 :]
        self._unclosed.append(self._record)
        self._record += 1
        self._size = self._record_size = sum(map(len, self._taken))
        self._rows += 1

    def _counted_lines(self) -> Iterator[str]:
        for line in self._lines:
            self._taken.append(line)
            self._size += len(line)
            if self._size - self._record_size > MAX_ROW_CHARS:
                raise csv.Error
            yield line
        self._ended = True

    def _end_batch(self) -> Iterator[BatchDraft]:
        self._total += self._rows
        check_rows(self._total, self._limits)
        if self._rows:
            text = "".join(self._taken).encode()
            payload = encode_rows(text, self._first_line, self._unclosed)
            yield BatchDraft(self._first_line, self._rows, payload)
        self._first_line += len(self._taken)
        self._begin()
