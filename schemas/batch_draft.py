"""What cutting a file gives."""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from enrollment.domain.submissions import Member
from schemas.foreign.detect import AUTO, NATIVE, source_of
from schemas.source import FileTooLarge, Limits, UnreadableFile


class FileOptions(NamedTuple):
    """What a caller says about a file beside it."""

    #: Forced; ``auto`` leaves it to be found out.
    format: str = AUTO
    #: The course of rows that have no place for one.
    course_id: str | None = None
    #: Whose ids the rows have; None leaves it to the format.
    source: str | None = None


class FileInfo(NamedTuple):
    """What a file is, as far as all of its rows share it."""

    #: ``csv``, ``ndjson`` or ``json``: how payloads are to be decoded.
    encoding: str
    #: The header of a CSV file as sent, without its line end; of one without a header, that of
    #: its format.
    header: str | None = None
    #: Whose columns the rows have.
    format: str = NATIVE
    #: The files of an archive that are read, in their order.
    files: tuple[Member, ...] = ()

    @property
    def source(self) -> str | None:
        """Whose ids all rows have; None: they are ours, or those of several systems."""
        if not self.files:
            return source_of(self.format)
        sources = {file.source for file in self.files}
        return sources.pop() if len(sources) == 1 else None


class BatchDraft(NamedTuple):
    """Some rows of a file, ready to be kept."""

    first_line: int
    rows: int
    payload: bytes


def not_empty(batches: Iterator[BatchDraft]) -> Iterator[BatchDraft]:
    """The batches, if there are any. Raises UnreadableFile."""
    first = next(batches, None)
    if first is None:
        raise UnreadableFile("empty", "there is not one request in the file", expected="a request")
    return chain([first], batches)


def check_rows(rows: int, limits: Limits) -> None:
    """Raise FileTooLarge for more rows than are allowed."""
    if rows > limits.max_rows:
        message = f"there are more than {limits.max_rows} rows: send them in parts"
        raise FileTooLarge(message)
