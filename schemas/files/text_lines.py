"""Reads a text line by line, or many lines at once, without what is no row."""

import codecs
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import AnyStr

from schemas.files.row_payload import MAX_ROW_BYTES
from schemas.files.source import MAX_LINE_CHARS, FileTooLarge

#: Longer records, in characters with their line end, belong to no row: the line where one begins is
#: stored as a line that cannot be read.
MAX_ROW_CHARS = MAX_ROW_BYTES + 2

#: Ended text files of DOS.
_CTRL_Z = "\x1a"


class LineReader:
    """The lines of a text, one by one or all that are buffered; Ctrl-Z at its end is dropped."""

    def __init__(self, chunks: Iterable[bytes], decoder: codecs.IncrementalDecoder) -> None:
        self._blocks = split_lines(_decoded(chunks, decoder), _text_lines)
        self._footer: str | None = None
        #: Buffered lines, the next one last.
        self._buffered: list[str] = []

    def __iter__(self) -> Iterator[str]:
        """Returns itself."""
        return self

    def __next__(self) -> str:
        """Returns the next line."""
        if not self.has_next():
            raise StopIteration
        return self._buffered.pop()

    @property
    def has_buffered(self) -> bool:
        """Whether the next line is buffered."""
        return bool(self._buffered)

    def has_next(self) -> bool:
        """Returns whether there is another line, and buffers it."""
        while not self._buffered:
            block = next(self._blocks, None)
            if block is None:
                return False
            self._buffered = self._rows_only(block)[::-1]
        return True

    def drop_footer(self, beginning: str | None) -> None:
        """Makes the next lines with this case-folded beginning blank; None: none of them."""
        self._footer = beginning
        self._buffered = self._rows_only(self._buffered)

    def _rows_only(self, lines: list[str]) -> list[str]:
        """Returns the lines, as many, without what is no row."""
        if lines and lines[-1].endswith(_CTRL_Z):  # no line end: the last line of the text
            lines[-1] = lines[-1].rstrip(_CTRL_Z)
        footer = self._footer
        if footer is None:
            return lines
        return ["\n" if _begins_with(line, footer) else line for line in lines]

    def put_back(self, lines: Sequence[str]) -> None:
        """Puts lines in front of the next one, in order."""
        self._buffered += reversed(lines)

    def take_plain(self) -> list[str]:
        """Removes and returns the buffered lines if each is a record without quotes, else []."""
        buffered = self._buffered
        if max(map(len, buffered)) > MAX_ROW_CHARS or '"' in "".join(buffered):
            return []
        self._buffered = []
        return buffered[::-1]


def _begins_with(line: str, beginning: str) -> bool:
    return line.lstrip(' "').casefold().startswith(beginning)


def _decoded(chunks: Iterable[bytes], decoder: codecs.IncrementalDecoder) -> Iterator[str]:
    for chunk in chunks:
        yield decoder.decode(chunk)


def _text_lines(text: str) -> list[str]:
    """Splits a text at the line ends that `csv` knows: LF, CR LF and CR."""
    lines = list(io.StringIO(text, newline=""))
    if not lines or lines[-1].endswith("\n"):
        lines.append("")
    return lines


def split_lines(
    chunks: Iterable[AnyStr], split: Callable[[AnyStr], list[AnyStr]]
) -> Iterator[list[AnyStr]]:
    """Yields complete lines, those of a chunk at a time. Raises FileTooLarge beyond MAX_LINE.

    `split` splits a text into its lines; the last of them may be incomplete, or empty.
    """
    rest: AnyStr | None = None
    number = 1
    for chunk in chunks:
        lines = split(chunk if rest is None else rest + chunk)
        _check_lengths(lines, number)
        rest = lines.pop()
        number += len(lines)
        yield lines
    if rest:
        yield [rest]


def _check_lengths(lines: list[AnyStr], number: int) -> None:
    if max(map(len, lines)) > MAX_LINE_CHARS:
        line = number + next(i for i, text in enumerate(lines) if len(text) > MAX_LINE_CHARS)
        message = f"line {line} is longer than {MAX_LINE_CHARS} characters"
        raise FileTooLarge(message)
