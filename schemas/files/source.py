"""The bytes of an upload: limits, decompression, lines, and the errors of a whole file."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import IO, AnyStr, NamedTuple

from schemas.findings import Finding, finding

CHUNK_BYTES = 256 * 1024
MAX_LINE_CHARS = 1_000_000
#: Longer records, in characters, are treated as a quote that was never closed.
MAX_RECORD_CHARS = 131_072
#: Longest text per byte of its gzip or ZIP, once it is longer than MIN_RATIO_BYTES.
MAX_RATIO = 200
MIN_RATIO_BYTES = 1_000_000

#: A gzip member may have a single byte, so their texts are joined: the search for line ends
#: rescans the current line once per piece.
_PIECE_BYTES = 64 * 1024
_PIECES = 16 * 1024

_GZIP = 31  # zlib's window bits, plus 16 for gzip's header and trailer
#: Codes of files that contradict their media type; other files are valid, but not usable here.
MALFORMED_CODES = frozenset(
    {"malformed_gzip", "malformed_json", "malformed_zip", "not_text", "unclosed_quotes"}
)


class Limits(NamedTuple):
    """The limits of one upload."""

    #: Decompressed.
    max_bytes: int = 1_000_000_000
    max_rows: int = 2_000_000
    max_json_bytes: int = 16_000_000
    batch_rows: int = 1_000
    #: A batch of long rows ends before it has `batch_rows`.
    batch_bytes: int = 4_000_000


class FileTooLarge(Exception):
    """An upload exceeds a limit; the message has the limit and the remedy."""


class FilePosition(NamedTuple):
    """A place in a file: line and column from 1, offset from 0."""

    line: int | None = None
    column: int | None = None
    offset: int | None = None


class UnreadableFile(Exception):
    """An upload is unreadable as a whole; the message has the place and the expected content."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        position: FilePosition | None = None,
        found: str | None = None,
        expected: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__(message)
        #: Stable, for programs.
        self.code = code
        self.message = message
        self.line, self.column, self.offset = position or FilePosition()
        self.found = found
        self.expected = expected

    @property
    def is_malformed(self) -> bool:
        """Whether the file contradicts its media type (400), rather than being not usable (422)."""
        return self.code in MALFORMED_CODES

    def finding(self) -> Finding:
        """Returns the finding, with the place and the expected content as far as they are known."""
        places = {"line": self.line, "column": self.column, "offset": self.offset}
        known_places = {name: place for name, place in places.items() if place is not None}
        item = finding("", None, self.code, expected=self.expected)
        return {**known_places, **item, "value": self.found}  # not shortened: it is a header


class SpooledSource:
    """The chunks of a spooled file, decompressed; every iteration begins at its first byte.

    Iterations may be interleaved: each keeps its own position in the file.
    """

    def __init__(self, file: IO[bytes], limits: Limits, *, gzip: bool = False) -> None:
        self._file = file
        self._limits = limits
        self._gzip = gzip

    def __iter__(self) -> Iterator[bytes]:
        """Yields the chunks, from the first."""
        return gunzip(self._read(), self._limits) if self._gzip else self._read()

    def _read(self) -> Iterator[bytes]:
        place = self._file.seek(0)
        while chunk := self._file.read(CHUNK_BYTES):
            place += len(chunk)
            yield chunk
            self._file.seek(place)


def gunzip(chunks: Iterable[bytes], limits: Limits) -> Iterator[bytes]:
    """Decompresses gzip chunk by chunk; it may have several members.

    Raises FileTooLarge for a text that is too long, absolutely or in relation to its gzip, and
    UnreadableFile for anything but complete gzip.
    """
    decompressor = _Decompressor(limits)
    held: list[bytes] = []
    size = 0
    for piece in chain.from_iterable(map(decompressor.feed, chunks)):
        held.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES or len(held) == _PIECES:
            yield b"".join(held)
            held, size = [], 0
    decompressor.finish()
    if held:
        yield b"".join(held)


class _Decompressor:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._member = zlib.decompressobj(_GZIP)
        self._taken = 0
        self._given = 0
        #: Within a member, not between two.
        self._inside = False
        self._seen_one = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        self._taken += len(chunk)
        rest = chunk
        while rest:
            if not self._inside:
                rest = self._begin(rest)
                continue
            piece = self._decompress(rest)
            rest = self._member.unconsumed_tail
            if self._member.eof:
                self._inside = False
                rest = self._member.unused_data
            if piece:
                yield piece

    def finish(self) -> None:
        if self._inside or not self._seen_one:
            raise UnreadableFile(
                "malformed_gzip",
                "the gzip data is incomplete: send the file again",
                position=FilePosition(offset=self._taken),
                expected="a complete gzip file",
            )

    def _begin(self, rest: bytes) -> bytes:
        if self._seen_one:
            rest = rest.lstrip(b"\0")  # some writers pad the last block
        if rest:
            self._member = zlib.decompressobj(_GZIP)
            self._inside = self._seen_one = True
        return rest

    def _decompress(self, rest: bytes) -> bytes:
        try:
            piece = self._member.decompress(rest, CHUNK_BYTES)
        except zlib.error as error:
            raise UnreadableFile(
                "malformed_gzip",
                f"the body is not gzip, or is damaged, near byte {self._taken - len(rest)}",
                position=FilePosition(offset=self._taken - len(rest)),
                expected="a gzip file, as Content-Encoding says",
            ) from error
        self._given += len(piece)
        check_size(self._given, self._limits)
        if self._given > max(MIN_RATIO_BYTES, MAX_RATIO * self._taken):
            message = f"the gzip data decompresses to more than {MAX_RATIO} times its size"
            raise FileTooLarge(message)
        return piece


def check_size(size: int, limits: Limits) -> None:
    """Raises FileTooLarge for an upload with more bytes than are allowed."""
    if size > limits.max_bytes:
        message = (
            f"the upload is longer than {limits.max_bytes} bytes (decompressed): "
            "send it in parts, or raise ENROLL_MAX_UPLOAD_BYTES"
        )
        raise FileTooLarge(message)


def without_bom(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the chunks without a leading UTF-8 byte order mark."""
    head = b""
    source = iter(chunks)
    for chunk in source:
        head += chunk
        if len(head) >= 3:  # noqa: PLR2004 (bytes of the mark)
            break
    if head := head.removeprefix(b"\xef\xbb\xbf"):
        yield head
    yield from source


def position_of(chunks: Iterable[bytes], offset: int) -> tuple[int, int]:
    """Returns line and column (in bytes, from 1) of a byte."""
    line, seen, begin = 1, 0, 0
    for chunk in chunks:
        part = chunk[: max(0, offset - seen)]
        if (newlines := part.count(b"\n")) > 0:
            line += newlines
            begin = seen + part.rindex(b"\n") + 1
        seen += len(chunk)
        if seen > offset:
            break
    return line, offset - begin + 1


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
