"""Splits JSON, NDJSON and CSV files into batches while they are read; rows are not parsed here."""

from collections.abc import Iterable, Iterator
from itertools import chain

import orjson

from schemas.encoding.i_json import InvalidJson, loads
from schemas.files.batch_draft import (
    BatchDraft,
    FileInfo,
    FileOptions,
    check_blank_lines,
    check_rows,
    require_rows,
)
from schemas.files.csv_splitter import NO_FILE_OPTIONS, check_no_course, split_csv
from schemas.files.encodings import (
    check_total_size,
    declared_charset,
    decode_declared,
    is_supported,
)
from schemas.files.formats.detect import AUTO, NATIVE
from schemas.files.mislabelled import (
    check_is_ndjson,
    check_is_text,
    check_line_ends,
    head_of,
    json_hint,
)
from schemas.files.row_payload import (
    CSV_ROWS,
    JSON_ROWS,
    MAX_ROW_BYTES,
    NDJSON_ROWS,
    encode_rows,
)
from schemas.files.source import (
    ITEM_BYTES,
    FilePosition,
    FileTooLarge,
    Limits,
    UnreadableFile,
    without_bom,
)
from schemas.files.text_lines import split_lines
from schemas.findings import display_value

#: An archive of files in the other formats.
ZIP = "zip"
_FORMATS = {
    "application/json": JSON_ROWS,
    "application/x-ndjson": NDJSON_ROWS,
    "application/ndjson": NDJSON_ROWS,
    "application/jsonl": NDJSON_ROWS,
    "text/csv": CSV_ROWS,
    "application/csv": CSV_ROWS,
    "text/plain": CSV_ROWS,
    "application/zip": ZIP,
    "application/x-zip-compressed": ZIP,
}


_ENDINGS = {
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".json": "application/json",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".zip": "application/zip",
}


def format_of(media_type: str) -> str | None:
    """Returns the format of a Content-Type, or None if it, or its charset, is not supported."""
    if not is_supported(declared_charset(media_type)):
        return None
    return _FORMATS.get(media_type.partition(";")[0].strip().lower())


def type_of_name(name: str) -> str | None:
    """Returns the media type of a file's extension, or None."""
    ending = name[name.rfind(".") :].lower()
    return _ENDINGS.get(ending)


def split(
    chunks: Iterable[bytes],
    *,
    media_type: str,
    limits: Limits,
    options: FileOptions = NO_FILE_OPTIONS,
    lines_before: int = 0,
) -> tuple[FileInfo, Iterator[BatchDraft]]:
    """Splits a file into batches; the chunks are iterated twice, each time from the first.

    Line numbers continue after `lines_before`. Raises UnreadableFile or FileTooLarge for
    errors of the whole file: mostly at once, otherwise while the batches are iterated.
    """
    kind = format_of(media_type)
    if kind in {None, ZIP}:
        message = f"{media_type[:100]!r} is not supported"
        raise UnreadableFile("unsupported_media_type", message, expected=", ".join(_FORMATS))
    head = head_of(chunks)
    check_is_text(head)
    chunks = decode_declared(chunks, declared_charset(media_type))
    if kind != CSV_ROWS and options.format not in {AUTO, NATIVE}:
        message = f"{options.format} files are CSV, and this is {kind}"
        raise UnreadableFile("unknown_document", message, expected="text/csv")
    if kind == JSON_ROWS:
        check_no_course(options)
        rows = _json_rows(chunks, head, limits)
        return FileInfo(JSON_ROWS), _json_batches(rows, limits, lines_before)
    is_plain = media_type.lower().startswith("text/plain") and options.format == AUTO
    if kind == NDJSON_ROWS or (is_plain and head.lstrip().startswith(b"{")):
        check_is_ndjson(head)
        check_no_course(options)
        return FileInfo(NDJSON_ROWS), require_rows(_ndjson_batches(chunks, limits, lines_before))
    check_line_ends(head)
    return split_csv(chunks, limits, options, lines_before)


# --- JSON --------------------------------------------------------------------------------


def _json_rows(chunks: Iterable[bytes], head: bytes, limits: Limits) -> list[object]:
    document = _load_document(chunks, head, limits)
    if isinstance(document, dict):
        if set(document) != {"enrollments"}:
            names = ", ".join(str(display_value(name)) for name in sorted(document)[:5])
            raise _unexpected_document(f"an object with the members {names or '(none)'}")
        document = document["enrollments"]
    if not isinstance(document, list):
        raise _unexpected_document("not an array")
    check_rows(len(document), limits)
    return document


def _unexpected_document(description: str) -> UnreadableFile:
    expected = '{"enrollments": [request, …]} or [request, …]'
    message = f"expected {expected}, but the document is {description}"
    return UnreadableFile(
        "unknown_document", message, position=FilePosition(1, 1, 0), expected=expected
    )


def _load_document(chunks: Iterable[bytes], head: bytes, limits: Limits) -> object:
    """Parses one JSON document. Raises FileTooLarge, and UnreadableFile with the place."""
    whole = bytearray()
    for chunk in chunks:
        whole += chunk
        if len(whole) > limits.max_json_bytes:
            message = (
                f"a JSON document may have {limits.max_json_bytes} bytes: "
                "send application/x-ndjson (one request a line) or text/csv, which may be longer"
            )
            raise FileTooLarge(message)
    try:
        return loads(bytes(whole))
    except InvalidJson as error:
        raise UnreadableFile(
            "malformed_json",
            f"JSON parse error - {error}{json_hint(head)}",
            position=FilePosition(error.line, error.column, error.offset),
            expected="JSON in UTF-8, as in RFC 7493",
        ) from error


def _json_batches(rows: list[object], limits: Limits, before: int) -> Iterator[BatchDraft]:
    texts = (orjson.dumps(row) for row in rows)
    return require_rows(_line_batches(enumerate(texts, before + 1), limits))


# --- NDJSON ------------------------------------------------------------------------------


def _ndjson_batches(chunks: Iterable[bytes], limits: Limits, before: int) -> Iterator[BatchDraft]:
    for _ in check_total_size(chunks, limits):
        pass
    cut = split_lines(without_bom(chunks), lambda text: text.split(b"\n"))
    lines = enumerate(chain.from_iterable(_without_ctrl_z(cut)), before + 1)
    return _line_batches(lines, limits)


def _without_ctrl_z(blocks: Iterable[list[bytes]]) -> Iterator[list[bytes]]:
    """Yields the lines without the Ctrl-Z that ended text files of DOS."""
    for lines in blocks:
        if lines and lines[-1].endswith(b"\x1a"):
            lines[-1] = lines[-1].rstrip(b"\x1a")
        yield lines


def _line_batches(lines: Iterator[tuple[int, bytes]], limits: Limits) -> Iterator[BatchDraft]:
    total = rows = size = blank = 0
    first = 1
    taken: list[bytes] = []
    for number, line in lines:
        if not taken:
            first = number
        length = len(line)
        if length > MAX_ROW_BYTES:  # the decoder reports it, and needs no more of it
            line, length = line[: MAX_ROW_BYTES + 1], MAX_ROW_BYTES  # noqa: PLW2901
        taken.append(line)
        size += length + ITEM_BYTES
        rows += not (line.isspace() or not line)
        if rows == limits.batch_rows or size >= limits.batch_bytes:
            total += rows
            blank += len(taken) - rows
            check_rows(total, limits)
            check_blank_lines(blank, total)
            if rows:
                yield BatchDraft(first, rows, encode_rows(b"\n".join(taken), first))
            taken, rows, size = [], 0, 0
    check_rows(total + rows, limits)
    if rows:
        yield BatchDraft(first, rows, encode_rows(b"\n".join(taken), first))
