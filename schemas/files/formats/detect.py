"""Detects the format of a CSV file by its first record: our own columns, or another system's."""

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
from schemas.files.formats.base import COHORT, COURSE, EMAIL, LEARNER, MODE, STATUS, Format
from schemas.files.source import UnreadableFile

AUTO = "auto"
NATIVE = "native"
#: Bulk change of modes of Open edX: three of our own columns and no other.
BULK_CHANGE = "openedx_bulk_change"
#: Formats with our own columns.
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
#: Values of the option ``format``.
FORMAT_NAMES = (AUTO, NATIVE, BULK_CHANGE, *FORMATS_BY_NAME)

_BULK_CHANGE = frozenset({"user", "mode", "course_id"})
_OURS = {
    "user": LEARNER,
    "email": EMAIL,
    "course_id": COURSE,
    OPENEDX_COURSE_COLUMN: COURSE,
    "mode": MODE,
    "is_active": STATUS,
    "cohort": COHORT,
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
    """Detect the format of a file by its first record. Raises UnreadableFile, naming known formats.

    Our own columns take precedence, unless the record has all columns that a format of another
    system needs.
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
    if (
        not KNOWN_COLUMNS.issuperset(columns.names)
        and (found := _complete_match(record)) is not None
    ):
        return found
    names = (
        columns.names[: -len(RESULT_COLUMNS)]
        if columns.names[-len(RESULT_COLUMNS) :] == RESULT_COLUMNS
        else columns.names
    )
    is_change = len(names) == len(_BULK_CHANGE) and set(names) == _BULK_CHANGE
    return DetectedFormat(BULK_CHANGE if is_change else NATIVE, record, columns)


def _complete_match(record: str) -> DetectedFormat | None:
    """Return the format whose columns, with that of the course, are all there.

    A column with one of our names is then an extra one of that system.
    """
    for format_ in FORMATS:
        for mark in DELIMITERS:
            columns = CsvColumns(mark, names_of(record, mark))
            if not format_.missing_groups(columns.names) and has_course(format_.name, columns):
                return DetectedFormat(format_.name, record, _checked(columns, format_))
    return None


def _of_other_system(record: str, otherwise: UnreadableFile) -> DetectedFormat:
    headers = [CsvColumns(mark, names_of(record, mark)) for mark in DELIMITERS]
    for format_ in FORMATS:
        for columns in headers:
            if format_.matches(columns.names):
                return DetectedFormat(format_.name, record, _checked(columns, format_))
    for format_ in FORMATS:
        if (found := _headless(record, format_)) is not None:
            return found
    raise _unknown(headers, otherwise)


def _forced(record: str, format_: Format) -> DetectedFormat:
    headers = [CsvColumns(mark, names_of(record, mark)) for mark in DELIMITERS]
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
    """Return a format without a header that the caller forces, whatever the first line is."""
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
        message = f"a column is named twice, or there are more than {MAX_COLUMNS}"
        raise UnreadableFile("repeated_columns", message, expected=format_.title)
    return columns


def _missing_columns(columns: CsvColumns, format_: Format) -> UnreadableFile:
    lacks = format_.missing_groups(columns.names)
    unread = [name for name in columns.names[:MAX_COLUMNS] if format_.meaning(name) is None]
    near = [
        f"{close[0][:40]!r} looks like {word!r}"
        for word in chain.from_iterable(group.split(" or ") for group in lacks)
        if (close := get_close_matches(word, unread, 1))
    ]
    hint = f" ({', '.join(near[:3])})" if near else ""
    return UnreadableFile(
        "unknown_columns",
        f"this looks like {format_.name}, but the header names no {' and no '.join(lacks)}{hint}",
        found=_shown(columns),
        expected=_describe(format_),
    )


def _unknown(headers: Sequence[CsvColumns], otherwise: UnreadableFile) -> UnreadableFile:
    """Return the error for an unknown header; it names the nearest format if one is near."""
    columns = max(headers, key=lambda columns: len(columns.names))
    nearest = min(FORMATS, key=lambda format_: len(format_.missing_groups(columns.names)))
    groups = len(nearest.marks) + len(nearest.needs)
    known = "; ".join([EXPECTED_COLUMNS, *map(_describe, FORMATS)])
    if groups > 1 and len(nearest.missing_groups(columns.names)) * 2 < groups:
        missing = _missing_columns(columns, nearest)
        return UnreadableFile(
            "unknown_columns", missing.message, found=missing.found, expected=known
        )
    return UnreadableFile(
        "unknown_columns", otherwise.message, found=_shown(columns), expected=known
    )


def _describe(format_: Format) -> str:
    numbered = (f"{stem}1, {stem}2, …" for stem in format_.numbered or ())
    return f"{format_.name}: {', '.join(chain(format_.columns, numbered))}"


def _shown(columns: CsvColumns) -> str:
    text = columns.delimiter.join(name[:40] for name in columns.names[:50])
    return "".join(sign if sign.isprintable() else " " for sign in text)[:400]


@lru_cache(maxsize=256)
def column_meanings(format_: str, header: str) -> dict[str, str]:
    """Return the columns of a file that are read, as written, and the meaning of each."""
    columns = columns_of_format(format_, header)
    written = cells_of(header, columns.delimiter)
    return {
        name.strip(): meaning
        for name, folded in zip(written, columns.names, strict=True)
        if (meaning := _meaning(format_, folded))
    }


def _meaning(format_: str, name: str) -> str | None:
    if format_ in NATIVE_FORMATS:
        return _OURS.get(name, name) if name in {*NATIVE_COLUMNS, OPENEDX_COURSE_COLUMN} else None
    return FORMATS_BY_NAME[format_].meaning(name)


@lru_cache(maxsize=256)
def columns_of_format(format_: str, header: str) -> CsvColumns:
    """Return the columns of a file whose format was detected."""
    if format_ in NATIVE_FORMATS:
        return columns_of(header)
    return _forced(header, FORMATS_BY_NAME[format_]).columns


def source_of(format_: str) -> str | None:
    """Return the system whose ids the rows of a format have by default; None: ours."""
    return format_ if format_ in FORMATS_BY_NAME and FORMATS_BY_NAME[format_].has_own_ids else None


def has_course(format_: str, columns: CsvColumns) -> bool:
    """Return whether the rows of a file have a column for the course."""
    return format_ in NATIVE_FORMATS or any(
        FORMATS_BY_NAME[format_].meaning(name) == COURSE for name in columns.names
    )
