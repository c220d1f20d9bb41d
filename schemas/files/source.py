"""The bytes of an upload: limits, decompression, lines, and the errors of a whole file."""

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import IO, NamedTuple

from schemas.findings import Finding, finding

CHUNK_BYTES = 256 * 1024
MAX_LINE_CHARS = 1_000_000
#: Longer records, in characters, are treated as a quote that was never closed.
MAX_RECORD_CHARS = 131_072
#: Longest text per byte of its gzip or ZIP, once it is longer than MIN_RATIO_BYTES.
MAX_RATIO = 200
MIN_RATIO_BYTES = 1_000_000
#: Ratio of what a text has beyond LARGE_BYTES. Long files of similar rows do reach 70 to 130, so
#: a limit of 50 for every file would refuse them.
MAX_LARGE_RATIO = 50
LARGE_BYTES = 250_000_000

#: Memory of a line beside its bytes: a file of empty lines is not small.
ITEM_BYTES = 64

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
    #: CPU time that reading may take: a fixed part, and one for each byte, each time it is read.
    base_cpu_seconds: float = 15.0
    cpu_seconds_per_megabyte: float = 0.05


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


class CpuBudget:
    """Limits the CPU time for reading one upload, by the thread that creates and reads it.

    The time grows with the bytes that were read, so a short file cannot take that of a long one.
    """

    def __init__(self, limits: Limits, thread_time: Callable[[], float] = time.thread_time) -> None:
        self._limits = limits
        self._thread_time = thread_time
        self._began_at = thread_time()
        self._bytes = 0

    def metered(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yields the chunks. Raises FileTooLarge after a chunk whose reader used up the time."""
        for chunk in chunks:
            yield chunk
            self._bytes += len(chunk)
            limits = self._limits
            allowed = limits.base_cpu_seconds + limits.cpu_seconds_per_megabyte * self._bytes / 1e6
            if self._thread_time() - self._began_at > allowed:
                message = (
                    f"reading the file takes more than {allowed:.3g} seconds of processor time, "
                    "which is too much for its length: send it in parts, without blank lines"
                )
                raise FileTooLarge(message)


class SpooledSource:
    """The chunks of a spooled file, decompressed; every iteration begins at its first byte.

    Iterations may be interleaved: each keeps its own position in the file. All of them share one
    budget of CPU time.
    """

    def __init__(self, file: IO[bytes], limits: Limits, *, gzip: bool = False) -> None:
        self._file = file
        self._limits = limits
        self._gzip = gzip
        self._budget = CpuBudget(limits)

    def __iter__(self) -> Iterator[bytes]:
        """Yields the chunks, from the first."""
        chunks = gunzip(self._read(), self._limits) if self._gzip else self._read()
        return self._budget.metered(chunks)

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
        check_ratio(self._given, self._taken, "the gzip data")
        return piece


def check_size(size: int, limits: Limits) -> None:
    """Raises FileTooLarge for an upload with more bytes than are allowed."""
    if size > limits.max_bytes:
        message = (
            f"the upload is longer than {limits.max_bytes} bytes (decompressed): "
            "send it in parts, or raise ENROLL_MAX_UPLOAD_BYTES"
        )
        raise FileTooLarge(message)


def check_ratio(unpacked: int, packed: int, subject: str) -> None:
    """Raises FileTooLarge for data that decompresses to more than its size permits."""
    ratio, beyond = MAX_RATIO, ""
    allowed = max(MIN_RATIO_BYTES, MAX_RATIO * packed)
    if allowed > LARGE_BYTES + MAX_LARGE_RATIO * packed:
        ratio, beyond = MAX_LARGE_RATIO, f", beyond {LARGE_BYTES} bytes"
        allowed = LARGE_BYTES + MAX_LARGE_RATIO * packed
    if unpacked > allowed:
        message = f"{subject} decompresses to more than {ratio} times its size{beyond}"
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
