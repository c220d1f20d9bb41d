"""Detects the format of a CSV file, native or of another system, by its first record."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from schemas.files.csv_rows import (
    DELIMITERS,
    EXPECTED_COLUMNS,
    KNOWN_COLUMNS,
    MAX_COLUMNS,
    NATIVE_COLUMNS,
    OPENEDX_COURSE_COLUMN,
    RESULT_COLUMNS,
    CsvColumns,
    cells_of,
    columns_of,
    names_of,
)
from schemas.files.formats import (
    blackboard,
    canvas,
    d2l,
    moodle_flat,
    moodle_users,
    oneroster,
    openedx_dashboard,
    registrar,
    sds,
)
from schemas.files.formats.base import (
    COHORT_COLUMN,
    COURSE_COLUMN,
    EMAIL_COLUMN,
    LEARNER_COLUMN,
    MODE_COLUMN,
    STATUS_COLUMN,
    Format,
)
from schemas.files.source import UnreadableFile

AUTO = "auto"
NATIVE = "native"
#: Bulk change of modes of Open edX: three of the native columns and no other.
BULK_CHANGE = "openedx_bulk_change"
#: Formats with native columns.
NATIVE_FORMATS = frozenset({NATIVE, BULK_CHANGE})

#: In the order in which they are tried: the more specific ones first.
FORMATS: tuple[Format, ...] = (
    oneroster.FORMAT,
    sds.FORMAT,
    sds.FORMAT_V1,
    canvas.FORMAT,
    registrar.FORMAT,
    d2l.FORMAT,
    blackboard.FORMAT,
    moodle_users.FORMAT,
    moodle_flat.FORMAT,
    openedx_dashboard.FORMAT,
)
FORMATS_BY_NAME = {format_.name: format_ for format_ in FORMATS}
#: Values of the option `format`.
FORMAT_NAMES = (AUTO, NATIVE, BULK_CHANGE, *FORMATS_BY_NAME)

_BULK_CHANGE = frozenset({"user", "mode", "course_id"})
_NATIVE_MEANINGS = {
    "user": LEARNER_COLUMN,
    "email": EMAIL_COLUMN,
    "course_id": COURSE_COLUMN,
    OPENEDX_COURSE_COLUMN: COURSE_COLUMN,
    "mode": MODE_COLUMN,
    "is_active": STATUS_COLUMN,
    "cohort": COHORT_COLUMN,
}


class DetectedFormat(NamedTuple):
    """The format of a CSV file, as its first record shows it."""

    format: str
    #: The first record, or of a file without a header that of its format.
    header: str
    columns: CsvColumns
    #: False: the first record is a row.
    has_header: bool = True


def detect_format(record: str, forced: str = AUTO) -> DetectedFormat:
    """Detects the format of a file by its first record.

    Native columns take precedence, unless the record has all columns that a format of another
    system needs. Raises UnreadableFile, which lists the known formats.
    """
    if forced in NATIVE_FORMATS:
        return DetectedFormat(forced, record, columns_of(record))
    if forced in FORMATS_BY_NAME:
        return _forced(record, FORMATS_BY_NAME[forced])
    try:
        columns = columns_of(record)
    except UnreadableFile as error:
        if error.code != "unknown_columns":
            raise
        return _of_other_system(record, error)
    if not KNOWN_COLUMNS.issuperset(columns.names):
        detected = _complete_match(record)
        if detected is not None:
            return detected
    return DetectedFormat(_native_format(columns.names), record, columns)


def _native_format(names: Sequence[str]) -> str:
    if names[-len(RESULT_COLUMNS) :] == RESULT_COLUMNS:
        names = names[: -len(RESULT_COLUMNS)]
    is_bulk_change = len(names) == len(_BULK_CHANGE) and set(names) == _BULK_CHANGE
    return BULK_CHANGE if is_bulk_change else NATIVE


def _complete_match(record: str) -> DetectedFormat | None:
    """Returns the format if the record has all of its columns, including one for the course.

    A column with a native name is then an extra one of that system.
    """
    for format_ in FORMATS:
        for delimiter in DELIMITERS:
            columns = CsvColumns(delimiter, names_of(record, delimiter))
            if not format_.missing_groups(columns.names) and has_course(format_.name, columns):
                return DetectedFormat(format_.name, record, _checked(columns, format_))
    return None


def _of_other_system(record: str, native_error: UnreadableFile) -> DetectedFormat:
    headers = _possible_headers(record)
    for format_ in FORMATS:
        for columns in headers:
            if format_.matches(columns.names):
                return DetectedFormat(format_.name, record, _checked(columns, format_))
    for format_ in FORMATS:
        if (detected := _headless(record, format_)) is not None:
            return detected
    raise _unknown(headers, native_error)


def _possible_headers(record: str) -> list[CsvColumns]:
    return [CsvColumns(it, names_of(record, it)) for it in DELIMITERS]


def _forced(record: str, format_: Format) -> DetectedFormat:
    headers = _possible_headers(record)
    for columns in headers:
        if format_.matches(columns.names):
            return DetectedFormat(format_.name, record, _checked(columns, format_))
    if format_.is_line is not None:
        return _headless(record, format_) or _as_lines(headers, format_)
    raise _missing_columns(
        max(headers, key=lambda columns: -len(format_.missing_groups(columns.names))), format_
    )


def _headless(record: str, format_: Format) -> DetectedFormat | None:
    if format_.is_line is None:
        return None
    for delimiter in DELIMITERS:
        cells = cells_of(record, delimiter)
        if cells and format_.is_line(cells):
            return _with_header(delimiter, format_)
    return None


def _as_lines(headers: Sequence[CsvColumns], format_: Format) -> DetectedFormat:
    """Returns a format without a header that the caller forces, for any first line."""
    likeliest = max(headers, key=lambda columns: len(columns.names))
    return _with_header(likeliest.delimiter, format_)


def _with_header(delimiter: str, format_: Format) -> DetectedFormat:
    header = delimiter.join(format_.columns)
    columns = CsvColumns(delimiter, names_of(header, delimiter))
    return DetectedFormat(format_.name, header, columns, has_header=False)


def _checked(columns: CsvColumns, format_: Format) -> CsvColumns:
    if format_.missing_groups(columns.names):
        raise _missing_columns(columns, format_)
    read = [format_.canonical(n) for n in columns.names if format_.meaning(n) is not None]
    if len(read) > len(set(read)) or len(columns.names) > MAX_COLUMNS:
        message = f"a column name is repeated, or there are more columns than {MAX_COLUMNS}"
        raise UnreadableFile("repeated_columns", message, expected=format_.title)
    return columns


def _missing_columns(columns: CsvColumns, format_: Format) -> UnreadableFile:
    missing = format_.missing_groups(columns.names)
    unread = [name for name in columns.names[:MAX_COLUMNS] if format_.meaning(name) is None]
    near = [
        f"{close[0][:40]!r} looks like {word!r}"
        for word in chain.from_iterable(group.split(" or ") for group in missing)
        if (close := get_close_matches(word, unread, 1))
    ]
    hint = f" ({', '.join(near[:3])})" if near else ""
    return UnreadableFile(
        "unknown_columns",
        f"this looks like {format_.name}, but the header has no {' and no '.join(missing)}{hint}",
        found=_header_text(columns),
        expected=_describe(format_),
    )


def _unknown(headers: Sequence[CsvColumns], native_error: UnreadableFile) -> UnreadableFile:
    """Returns the error for an unknown header; it names the nearest format if one is near."""
    columns = max(headers, key=lambda columns: len(columns.names))
    nearest = min(FORMATS, key=lambda format_: len(format_.missing_groups(columns.names)))
    groups = len(nearest.identifying_columns) + len(nearest.required_columns)
    known = "; ".join([EXPECTED_COLUMNS, *map(_describe, FORMATS)])
    if groups > 1 and len(nearest.missing_groups(columns.names)) * 2 < groups:
        missing = _missing_columns(columns, nearest)
        return UnreadableFile(
            "unknown_columns", missing.message, found=missing.found, expected=known
        )
    return UnreadableFile(
        "unknown_columns", native_error.message, found=_header_text(columns), expected=known
    )


def _describe(format_: Format) -> str:
    numbered = (f"{stem}1, {stem}2, …" for stem in format_.numbered or ())
    return f"{format_.name}: {', '.join(chain(format_.columns, numbered))}"


def _header_text(columns: CsvColumns) -> str:
    text = columns.delimiter.join(name[:40] for name in columns.names[:50])
    return "".join(sign if sign.isprintable() else " " for sign in text)[:400]


@lru_cache(maxsize=256)
def column_meanings(format_: str, header: str) -> dict[str, str]:
    """Returns the columns of a file that are read, as written, and the meaning of each."""
    columns = columns_of_format(format_, header)
    written = cells_of(header, columns.delimiter)
    return {
        name.strip(): meaning
        for name, folded in zip(written, columns.names, strict=True)
        if (meaning := _meaning(format_, folded))
    }


def _meaning(format_: str, name: str) -> str | None:
    if format_ in NATIVE_FORMATS:
        return (
            _NATIVE_MEANINGS.get(name, name)
            if name in {*NATIVE_COLUMNS, OPENEDX_COURSE_COLUMN}
            else None
        )
    return FORMATS_BY_NAME[format_].meaning(name)


@lru_cache(maxsize=256)
def columns_of_format(format_: str, header: str) -> CsvColumns:
    """Returns the columns of a file in a detected format."""
    if format_ in NATIVE_FORMATS:
        return columns_of(header)
    return _forced(header, FORMATS_BY_NAME[format_]).columns


def source_of(format_: str) -> str | None:
    """Returns the system that the ids of a format belong to by default; None: this service."""
    return (
        format_
        if format_ in FORMATS_BY_NAME and FORMATS_BY_NAME[format_].has_external_ids
        else None
    )


def has_course(format_: str, columns: CsvColumns) -> bool:
    """Returns whether the rows of a file have a column for the course."""
    return format_ in NATIVE_FORMATS or any(
        FORMATS_BY_NAME[format_].meaning(name) == COURSE_COLUMN for name in columns.names
    )
