"""Recognizes content that is not what its media type says, and says how to send it.

Only the beginning of a file is looked at, and only whole files are refused: a row that cannot be
read is an outcome of its own.
"""

import re
from collections.abc import Iterable
from functools import cache
from itertools import chain

import orjson

from schemas.files.csv_rows import DELIMITERS, KNOWN_COLUMNS, SEPARATOR_LINE
from schemas.files.formats.detect import FORMATS
from schemas.files.source import FilePosition, UnreadableFile, without_bom

#: Bytes at the beginning of a file that are looked at.
HEAD_BYTES = 65_536
_CSV_ADVICE = "save it as CSV UTF-8"
_GZIP = (
    "gzip: send it with the header Content-Encoding: gzip and the Content-Type of what is in it, "
    "or in a form under a name that ends in .gz"
)
_ZIP = (
    "a ZIP archive or a workbook (.xlsx, .ods), not text: send an archive as application/zip; "
    f"open a workbook and {_CSV_ADVICE}"
)
_WORKBOOK = f"a workbook: open it, and {_CSV_ADVICE}"
_UTF_16 = f"UTF-16 text: {_CSV_ADVICE}"
#: First bytes of files that are no text here; what they are, and what to do.
_SIGNATURES = (
    (b"\x1f\x8b", _GZIP),
    (b"PK\x03\x04", _ZIP),
    (b"\xff\xfe", _UTF_16),
    (b"\xfe\xff", _UTF_16),
    (b"%PDF-", f"a PDF document: export the table, and {_CSV_ADVICE}"),
    (b"\xd0\xcf\x11\xe0", _WORKBOOK),
    (b"{\\rtf", f"an RTF document: {_CSV_ADVICE}"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: send a ZIP archive as application/zip"),
    (b"Rar!\x1a\x07", "a RAR archive: send a ZIP archive as application/zip"),
    (b"\xfd7zXZ\0", "xz: compress it with gzip, and send it with Content-Encoding: gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd: compress it with gzip, and send it with Content-Encoding: gzip"),
    (b"\x89PNG", "an image: export the table as CSV UTF-8"),
)
_FIRST_BYTES = tuple(signature for signature, _ in _SIGNATURES)
_HTML = re.compile(
    rb"\s*<(?:!--|(?:!doctype|html|head|body|meta|table|style|script|\?xml)\b)", re.IGNORECASE
)
_LIST_BEGINNINGS = (b"", b"{", b"]")
_DOCUMENT = re.compile(rb'\{\s*"enrollments"\s*:')
_LOST_ENDS = (
    "the line ends were lost: send the file with `curl --data-binary @file`, because `curl -d` "
    "removes them"
)
_SEVERAL_IN_ONE_LINE = re.compile(rb"\}\s*\{")
#: Beginnings of JSON values that requests in JSON have.
_JSON_BEGINNINGS = (b"{", b"[")


#: Media types that are not supported, and what to do with a file of them.
_TYPES = {
    "application/gzip": f"This is {_GZIP}.",
    "application/x-gzip": f"This is {_GZIP}.",
    "application/vnd.ms-excel": f"This is {_WORKBOOK}.",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": f"This is {_WORKBOOK}.",
    "application/vnd.oasis.opendocument.spreadsheet": f"This is {_WORKBOOK}.",
    "application/x-www-form-urlencoded": (
        "Send a file with `curl --data-binary @file -H 'Content-Type: text/csv'`: `curl -d` alone "
        "sends a form, without the line ends."
    ),
}


def advice_for(media_type: str) -> str:
    """Returns what to do with a file of an unsupported media type; empty if that is unknown."""
    return _TYPES.get(media_type.partition(";")[0].strip().lower(), "")


def head_of(chunks: Iterable[bytes]) -> bytes:
    """Returns the beginning of a file, without a byte order mark of UTF-8."""
    head = b""
    for chunk in without_bom(chunks):
        head = head + chunk[:HEAD_BYTES] if head else chunk[:HEAD_BYTES]
        if len(head) >= HEAD_BYTES:
            break
    return head


def first_line(chunks: Iterable[bytes]) -> str:
    """Returns the first line with content, such as a header; empty if there is none."""
    lines = head_of(chunks).decode("utf-8", errors="replace").splitlines()
    return next((it for it in lines if it.strip() and not SEPARATOR_LINE.fullmatch(it)), "")


def description_of(head: bytes) -> str | None:
    """Returns what content that is no text looks like, and what to do; None: it looks like text."""
    if head.startswith(_FIRST_BYTES):
        return next(found for signature, found in _SIGNATURES if head.startswith(signature))
    if _HTML.match(head):
        return f"HTML or XML, such as a page of a browser: {_CSV_ADVICE}"
    return _UTF_16 if b"\0" in head[:4] and _is_utf_16(head[:200]) else None


def _is_utf_16(start: bytes) -> bool:
    """Returns whether text has a NUL as every second byte: UTF-16 without a byte order mark."""
    even, odd = start[::2], start[1::2]
    return len(odd) > 1 and (any(even) != any(odd)) and (all(even) or all(odd))


def check_is_text(head: bytes) -> None:
    """Raises UnreadableFile for content that is no text in UTF-8 or CP1252."""
    description = description_of(head)
    if description is not None:
        raise UnreadableFile(
            "not_text",
            f"the file is {description}",
            position=FilePosition(1, 1, 0),
            expected="CSV, NDJSON or JSON in UTF-8",
        )


def check_is_ndjson(head: bytes) -> None:
    """Raises UnreadableFile for JSON documents and CSV files that were sent as NDJSON."""
    first, second = _first_two_lines(head)
    if first.startswith(b"[") and first[1:].lstrip()[:1] in _LIST_BEGINNINGS:
        message = "this looks like a JSON list: send it as application/json, or one request a line"
    elif _DOCUMENT.match(first) or (first == b"{" and not second.startswith(b"{")):
        message = (
            "this looks like a JSON document over several lines, or with a list in it: send it as "
            "application/json, or one request a line"
        )
    elif _looks_like_csv(first, second):
        message = "this looks like CSV: send it as text/csv"
    elif not second and _SEVERAL_IN_ONE_LINE.search(first) and not _is_json(first):
        message = f"there are several requests in one line: {_LOST_ENDS}"
    else:
        return
    raise _unexpected(message, "one request as a JSON object a line")


def json_hint(head: bytes) -> str:
    """Returns what a body that is no JSON document looks like, as the end of a sentence."""
    first, second = _first_two_lines(head)
    if all(line.startswith(b"{") and _is_json(line) for line in (first, second)):
        return ": this looks like NDJSON: send it as application/x-ndjson"
    if _looks_like_csv(first, second):
        return ": this looks like CSV: send it as text/csv"
    return ""


def _first_two_lines(head: bytes) -> tuple[bytes, bytes]:
    """Returns the first two lines with content, trimmed; empty where there is none."""
    first, _, rest = head.lstrip().partition(b"\n")
    return first.rstrip(), rest.lstrip().partition(b"\n")[0].rstrip()


def check_line_ends(head: bytes) -> None:
    """Raises UnreadableFile for a CSV file of one line in which a header runs into a row."""
    if b"\n" in head or b"\r" in head:
        return
    text = head.decode("utf-8", errors="replace").casefold()
    for delimiter in DELIMITERS:
        cells = [cell.strip(' "') for cell in text.split(delimiter)]
        if cells[0] in _known_columns() and any(map(_is_glued, cells[1:-1])):
            message = f"the header and the rows are one line: {_LOST_ENDS}"
            raise _unexpected(message, "a header, and one row a line")


@cache
def _known_columns() -> frozenset[str]:
    names = chain.from_iterable(format_.columns for format_ in FORMATS)
    return KNOWN_COLUMNS.union(name.casefold() for name in names)


def _is_glued(cell: str) -> bool:
    """Returns whether a cell is the name of a column with something behind it."""
    known = _known_columns()
    return cell not in known and cell.startswith(tuple(known))


def _looks_like_csv(first: bytes, second: bytes) -> bool:
    if first.startswith(_JSON_BEGINNINGS) or second.startswith(_JSON_BEGINNINGS):
        return False
    if _is_json(first) or (second and _is_json(second)):
        return False
    return bool(second) or any(delimiter.encode() in first for delimiter in DELIMITERS)


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _unexpected(message: str, expected: str) -> UnreadableFile:
    return UnreadableFile("unknown_document", message, position=FilePosition(1), expected=expected)
