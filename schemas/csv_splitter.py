"""CSV files, cut into batches between their records."""

import codecs
import csv
import io
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate

from schemas.batch_draft import BatchDraft, FileInfo, FileOptions, check_rows, not_empty
from schemas.csv_rows import EXPECTED, Columns, is_unclosed
from schemas.encodings import encoding_of
from schemas.foreign.detect import BY_NAME, OUR_COLUMNS, Recognised, has_course, recognise
from schemas.foreign.reader import Reader
from schemas.row_payload import CSV, encode_rows
from schemas.source import Limits, Place, UnreadableFile, cut_lines, without_bom

#: A header whose quotes do not close after so many lines is none.
_MAX_HEADER_LINES = 20
#: Longer records, in characters, are taken for a quote that was never closed.
MAX_RECORD = 131_072
#: Each costs reading on to its bound and coming back, so a file may not be made of them: it
#: may have so many, and one more for every thousand rows.
MAX_UNCLOSED = 50

#: Rows at which a batch is cut where one line may mean a thousand: batches hold less than 16,384.
_MOST_OF_MANY = 15_000

NO_OPTIONS = FileOptions()


def split_csv(
    chunks: Iterable[bytes], limits: Limits, wanted: FileOptions = NO_OPTIONS, lines_before: int = 0
) -> tuple[FileInfo, Iterator[BatchDraft]]:
    """Cut a CSV file into batches; the chunks are iterated twice."""
    decoder = codecs.getincrementaldecoder(encoding_of(chunks, limits))
    texts = _decoded(without_bom(chunks), decoder())
    lines = _Lines(cut_lines(texts, _text_lines))
    before, record = _header(lines)
    found = recognise(record.rstrip("\r\n"), wanted.format)
    _check_course(found, wanted)
    if not found.has_header:
        first = list(io.StringIO(record, newline=""))
        lines.put_back(first)
        before -= len(first)
    head = FileInfo(CSV, found.header, found.format)
    first_line = lines_before + before + 1
    cutter = _CsvCutter(lines, first_line, found.columns, limits, _counter(found))
    return head, not_empty(cutter.batches())


def _check_course(found: Recognised, wanted: FileOptions) -> None:
    """Raise UnreadableFile for rows that name no course where nobody else does, or both do."""
    if has_course(found.format, found.columns):
        check_unsaid(wanted)
    elif wanted.course_id is None:
        message = (
            f"rows of this {found.format} file name no course: say which with the option course_id"
        )
        raise UnreadableFile("course_missing", message, expected="course_id=…")


def check_unsaid(wanted: FileOptions) -> None:
    """Raise UnreadableFile where a course is named beside rows that name theirs."""
    if wanted.course_id is not None:
        message = "each row of this file has a place for its course: leave the option course_id out"
        raise UnreadableFile("course_twice", message, expected="no option course_id")


def _counter(found: Recognised) -> Callable[[list[str]], int] | None:
    """How many requests a row means; None where each means one."""
    if found.format in OUR_COLUMNS or not BY_NAME[found.format].numbered:
        return None
    return Reader(found.format, found.columns).count


def _decoded(chunks: Iterable[bytes], decoder: codecs.IncrementalDecoder) -> Iterator[str]:
    for chunk in chunks:
        yield decoder.decode(chunk)


def _text_lines(text: str) -> list[str]:
    """Lines end as csv takes them to: with LF, CR LF or CR."""
    lines = list(io.StringIO(text, newline=""))
    if not lines or lines[-1].endswith("\n"):
        lines.append("")
    return lines


def _header(lines: Iterator[str]) -> tuple[int, str]:
    """The first record that is not blank, and how many lines there are up to its end."""
    number = 0
    for number, line in enumerate(lines, 1):  # noqa: B007 (its last value is told)
        if line.strip():
            break
    else:
        raise UnreadableFile("empty", "the file is empty", expected=EXPECTED)
    first, record = number, line
    while _is_header_open(record, first):
        more = next(lines, None)
        number += 1
        if more is None or number - first == _MAX_HEADER_LINES:
            message = f"a quote of the header, in line {first}, is never closed"
            raise UnreadableFile("unclosed_quotes", message, place=Place(first), expected=EXPECTED)
        record += more
    return number, record


def _is_header_open(record: str, line: int) -> bool:
    if len(record) > MAX_RECORD:
        message = f"the header, in line {line}, is longer than {MAX_RECORD} characters"
        raise UnreadableFile("unknown_columns", message, place=Place(line), expected=EXPECTED)
    return is_unclosed(record)


class _Lines:
    """The lines of a text, one by one or as many as are at hand."""

    def __init__(self, blocks: Iterator[list[str]]) -> None:
        self._blocks = blocks
        #: Lines at hand, the next one last.
        self._waiting: list[str] = []

    def __iter__(self) -> Iterator[str]:
        """Itself."""
        return self

    def __next__(self) -> str:
        """The next line."""
        if not self.are_left():
            raise StopIteration
        return self._waiting.pop()

    @property
    def are_at_hand(self) -> bool:
        """Whether the next line is there without reading on."""
        return bool(self._waiting)

    def are_left(self) -> bool:
        """Whether there is another line; then it is at hand."""
        while not self._waiting:
            block = next(self._blocks, None)
            if block is None:
                return False
            self._waiting = block[::-1]
        return True

    def put_back(self, lines: Sequence[str]) -> None:
        """Lines that come next, in order."""
        self._waiting += reversed(lines)

    def plain(self) -> list[str]:
        """The lines at hand, in order, if each is a record without quotes; else none."""
        waiting = self._waiting
        if max(map(len, waiting)) > MAX_RECORD or '"' in "".join(waiting):
            return []
        self._waiting = []
        return waiting[::-1]


class _CsvCutter:
    """Cuts lines between records, where the reader of the payload will find them to end."""

    def __init__(
        self,
        lines: _Lines,
        first_line: int,
        columns: Columns,
        limits: Limits,
        count: Callable[[list[str]], int] | None = None,
    ) -> None:
        self._lines = lines
        self._first_line = first_line
        self._columns = columns
        self._limits = limits
        self._count = count
        most = limits.batch_rows if count is None else min(limits.batch_rows, _MOST_OF_MANY)
        self._batch_rows = most
        self._total = 0
        self._given_up = 0
        self._begin()

    def _begin(self) -> None:
        self._taken: list[str] = []
        self._rows = self._size = 0
        #: Where in ``taken``, and at which size, the record in hand begins.
        self._record = self._record_size = 0
        self._unclosed: list[int] = []

    def batches(self) -> Iterator[BatchDraft]:
        """The batches, in order."""
        while self._lines.are_left():
            plain = self._lines.plain() if self._count is None else []
            for _ in self._portions(plain) if plain else self._records():
                if self._rows >= self._batch_rows or self._size >= self._limits.batch_bytes:
                    yield from self._cut()
        yield from self._cut()

    def _portions(self, lines: list[str]) -> Iterator[None]:
        """One step as many lines as a batch has room for; each is a row, or blank."""
        blanks = self._columns.blanks
        begin = 0
        while part := lines[begin : begin + self._batch_rows - self._rows]:
            sizes = list(accumulate(map(len, part), initial=self._size))
            del part[bisect_left(sizes, self._limits.batch_bytes, lo=1) :]
            self._size = sizes[len(part)]
            self._taken += part
            self._rows += len([line for line in part if line.strip(blanks)])
            begin += len(part)
            yield

    def _records(self) -> Iterator[None]:
        """One step a row, up to the end of the lines at hand.

        A quote that is never closed costs its line and no other.
        """
        blanks = self._columns.blanks
        self._record, self._record_size = len(self._taken), self._size
        reader = csv.reader(self._tapped(), delimiter=self._columns.delimiter)
        self._ended = False
        with suppress(csv.Error):  # a record that is too long is not whole either
            for cells in reader:
                if self._ended:
                    break
                self._record = len(self._taken)
                self._record_size = self._size
                if "".join(cells).strip(blanks):
                    self._rows += 1 if self._count is None else self._count(cells)
                    yield
                if not self._lines.are_at_hand:
                    return
        if self._record < len(self._taken):
            self._give_up_line()
            yield

    def _give_up_line(self) -> None:
        self._given_up += 1
        if self._given_up > MAX_UNCLOSED + self._total // 1_000:
            line = self._first_line + self._record
            message = f"line {line} is one of too many whose quotes never close"
            raise UnreadableFile("unclosed_quotes", message, place=Place(line), expected=EXPECTED)
        self._lines.put_back(self._taken[self._record + 1 :])
        del self._taken[self._record + 1 :]
        self._unclosed.append(self._record)
        self._record += 1
        self._size = self._record_size = sum(map(len, self._taken))
        self._rows += 1

    def _tapped(self) -> Iterator[str]:
        for line in self._lines:
            self._taken.append(line)
            self._size += len(line)
            if self._size - self._record_size > MAX_RECORD:
                raise csv.Error
            yield line
        self._ended = True

    def _cut(self) -> Iterator[BatchDraft]:
        self._total += self._rows
        check_rows(self._total, self._limits)
        if self._rows:
            text = "".join(self._taken).encode()
            payload = encode_rows(text, self._first_line, self._unclosed)
            yield BatchDraft(self._first_line, self._rows, payload)
        self._first_line += len(self._taken)
        self._begin()
