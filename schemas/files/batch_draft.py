"""The result of splitting a file: its description, and its batches."""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from enrollment.domain.submissions import ArchiveMember, PassedOverFile
from schemas.files.formats.detect import AUTO, NATIVE, source_of, unread_columns
from schemas.files.source import FileTooLarge, Limits, UnreadableFile
from schemas.findings import display_value

#: Lines without content that a file may have: so many, and more for each row before them.
MAX_BLANK_LINES = 10_000
BLANK_LINES_PER_ROW = 10


class FileOptions(NamedTuple):
    """Options that a caller gives with a file, as query parameters."""

    #: A format, or `auto` to detect it.
    format: str = AUTO
    #: The course of rows that have no column for one.
    course_id: str | None = None
    #: The system that the ids of the rows belong to; None: that of the format.
    source: str | None = None
    #: Names of columns, in lower case, that may look like ones that are read.
    ignored: frozenset[str] = frozenset()


class FileInfo(NamedTuple):
    """Properties that all rows of a file share."""

    #: `csv`, `ndjson` or `json`: how payloads are to be decoded.
    encoding: str
    #: The header of a CSV file as sent, without its line end; for a format without header lines,
    #: the header that the format defines.
    header: str | None = None
    #: The format of the columns.
    format: str = NATIVE
    #: The files of an archive that are read, in order.
    files: tuple[ArchiveMember, ...] = ()
    #: The files of an archive that are not read.
    passed_over: tuple[PassedOverFile, ...] = ()

    @property
    def ignored_columns(self) -> tuple[str, ...]:
        """Names of the columns that are not read, as written; of all files of an archive."""
        files = [(file.format, file.header) for file in self.files] or [(self.format, self.header)]
        names = (
            name
            for format_, header in files
            if header is not None
            for name in unread_columns(format_, header).values()
        )
        return tuple(dict.fromkeys(str(display_value(name)) for name in names))

    @property
    def source(self) -> str | None:
        """The one system that all ids belong to; None: this service, or several systems."""
        if not self.files:
            return source_of(self.format)
        sources = {file.source for file in self.files}
        return sources.pop() if len(sources) == 1 else None


class BatchDraft(NamedTuple):
    """A batch of rows, ready to be stored."""

    first_line: int
    rows: int
    payload: bytes


def require_rows(batches: Iterator[BatchDraft]) -> Iterator[BatchDraft]:
    """Returns the batches. Raises UnreadableFile if there is none."""
    first = next(batches, None)
    if first is None:
        message = "the file contains no request: write at least one row, in CSV below the header"
        raise UnreadableFile("empty", message, expected="a request")
    return chain([first], batches)


def check_rows(rows: int, limits: Limits) -> None:
    """Raises FileTooLarge for more rows than are allowed."""
    if rows > limits.max_rows:
        message = (
            f"there are more than {limits.max_rows} rows (ENROLL_MAX_UPLOAD_ROWS; with "
            "on_error=abort ENROLL_MAX_ATOMIC_ROWS): send several files"
        )
        raise FileTooLarge(message)


def check_blank_lines(blank: int, rows: int) -> None:
    """Raises FileTooLarge for more lines without content than the rows before them permit."""
    if blank > MAX_BLANK_LINES + BLANK_LINES_PER_ROW * rows:
        message = (
            f"there are {blank} lines without content, and {rows} rows before them; "
            f"{BLANK_LINES_PER_ROW} a row and {MAX_BLANK_LINES} more are allowed: "
            "remove the blank lines, such as those at the end of a sheet"
        )
        raise FileTooLarge(message)
