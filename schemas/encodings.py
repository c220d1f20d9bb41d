"""Text files: which encoding they are in, and that they are text at all."""

import codecs
from collections.abc import Iterable, Iterator
from itertools import islice

from schemas.uploads import Limits, Place, Unreadable, check_size, place_of

#: Bytes that stand for nothing in CP1252.
_NOT_CP1252 = b"\x81\x8d\x8f\x90\x9d"
_ALL_CP1252 = bytes(set(range(256)) - set(_NOT_CP1252))
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_ZIP = b"PK\x03\x04"


def measured(chunks: Iterable[bytes], limits: Limits) -> Iterator[bytes]:
    """The chunks, as long as they are not too many. Raises TooLarge."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        check_size(size, limits)
        yield chunk


def encoding_of(chunks: Iterable[bytes], limits: Limits) -> str:
    """UTF-8 if it can be, else CP1252. Raises Unreadable for what is no text, and TooLarge."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    seen, broken_at, is_cp1252 = 0, -1, True
    for chunk in measured(chunks, limits):
        if seen == 0 and chunk.startswith((*_UTF_16, _ZIP)):
            raise _not_text(chunks, 0)
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
    """Where the text stops to be UTF-8, or -1."""
    waiting = len(decoder.getstate()[0])
    try:
        decoder.decode(chunk)
    except UnicodeDecodeError as error:
        return seen - waiting + error.start
    return -1


def _not_text(chunks: Iterable[bytes], offset: int) -> Unreadable:
    start = b"".join(islice(chunks, 4))[:4]
    what = f"byte {offset} is neither UTF-8 nor CP1252 text"
    if start.startswith(_UTF_16):
        what = "this is UTF-16"
    elif start.startswith(_ZIP):
        what = "this is a ZIP archive or a workbook, not text"
    line, column = place_of(chunks, offset)
    return Unreadable(
        "not_text",
        f"{what}: save the file as CSV UTF-8",
        place=Place(line, column, offset),
        expected="CSV in UTF-8 or CP1252",
    )
