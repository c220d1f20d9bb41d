"""Detects the encoding of text files, and rejects files that are not text."""

import codecs
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from itertools import chain

from schemas.files.source import FilePosition, Limits, UnreadableFile, check_size, position_of

#: Bytes that are undefined in CP1252.
_NOT_CP1252 = b"\x81\x8d\x8f\x90\x9d"
_ALL_CP1252 = bytes(set(range(256)) - set(_NOT_CP1252))
#: Names of the supported charsets. As on the web, ISO 8859-1 is read as CP1252: its letters are
#: the same, and its control characters are not used.
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_ONE_BYTE = frozenset(
    {"cp1252", "windows-1252", "iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1"}
)


def declared_charset(media_type: str) -> str | None:
    """Returns the charset of a Content-Type, in lower case, or None."""
    for parameter in media_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'").lower() or None
    return None


def is_supported(charset: str | None) -> bool:
    """Returns whether a charset is supported; None means that it is to be detected."""
    return charset is None or charset in _UTF_8 or charset in _ONE_BYTE


def decode_declared(chunks: Iterable[bytes], charset: str | None) -> Iterable[bytes]:
    """Returns the chunks in UTF-8 where another charset is declared, else unchanged."""
    return _Cp1252Reader(chunks) if charset in _ONE_BYTE else chunks


class _Cp1252Reader:
    """Converts chunks to UTF-8; every iteration begins at the first.

    A byte order mark of UTF-8 takes precedence over the declaration. Bytes that are undefined in
    CP1252 pass through, so that the check of the UTF-8 text reports their place.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        """Yields the chunks, from the first."""
        chunks = iter(self._chunks)
        head = b""
        while len(head) < len(BOM_UTF8) and (more := next(chunks, None)) is not None:
            head += more
        if head.startswith(BOM_UTF8):
            yield head
            yield from chunks
            return
        for chunk in chain([head], chunks):
            yield chunk.decode("cp1252", "surrogateescape").encode("utf-8", "surrogateescape")


def check_total_size(chunks: Iterable[bytes], limits: Limits) -> Iterator[bytes]:
    """Yields the chunks. Raises FileTooLarge when together they exceed the limit."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        check_size(size, limits)
        yield chunk


def detect_encoding(chunks: Iterable[bytes], limits: Limits) -> str:
    """Returns `utf-8` if the whole text is valid UTF-8, else `cp1252`.

    Raises UnreadableFile if it is neither, FileTooLarge.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    seen, broken_at, is_cp1252 = 0, -1, True
    for chunk in check_total_size(chunks, limits):
        if b"\0" in chunk:
            raise _not_text(chunks, seen + chunk.index(b"\0"))
        if broken_at < 0:
            broken_at = _decode(decoder, chunk, seen)
        is_cp1252 = is_cp1252 and not chunk.translate(None, _ALL_CP1252)
        seen += len(chunk)
    if broken_at < 0 and decoder.getstate()[0]:
        broken_at = seen - len(decoder.getstate()[0])
    if broken_at >= 0 and not is_cp1252:
        raise _not_text(chunks, broken_at)
    return "utf-8" if broken_at < 0 else "cp1252"


def _decode(decoder: codecs.IncrementalDecoder, chunk: bytes, seen: int) -> int:
    """Returns the offset where the text ceases to be UTF-8, or -1."""
    waiting = len(decoder.getstate()[0])
    try:
        decoder.decode(chunk)
    except UnicodeDecodeError as error:
        return seen - waiting + error.start
    return -1


def _not_text(chunks: Iterable[bytes], offset: int) -> UnreadableFile:
    line, column = position_of(chunks, offset)
    return UnreadableFile(
        "not_text",
        f"byte {offset} is neither UTF-8 nor CP1252 text: save it as CSV UTF-8",
        position=FilePosition(line, column, offset),
        expected="CSV in UTF-8 or CP1252",
    )
