"""Detects the format of a CSV file, native or of another system, by its first record."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from schemas.files.csv_rows import (
    COURSE_COLUMNS,
    DELIMITERS,
    KNOWN_COLUMNS,
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
    clever,
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
from schemas.files.formats.header_errors import (
    check_complete,
    check_native,
    format_error,
    missing_native,
    native_error,
    unknown_error,
)

AUTO = "auto"
NATIVE = "native"
#: The files of an archive have several formats.
MIXED = "mixed"
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
    clever.FORMAT,
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


def detect_format(record: str, forced: str = AUTO, *, has_course: bool = False) -> DetectedFormat:
    """Detects the format of a file by its first record.

    Native columns take precedence, unless the record has all columns that a format of another
    system needs. `has_course`: the course is named beside the file, so that a learner's column
    alone is complete. Raises UnreadableFile, which names the nearest format.
    """
    columns = columns_of(record)
    if forced in NATIVE_FORMATS:
        check_native(columns, record, has_course=has_course)
        return DetectedFormat(forced, record, columns)
    if forced in FORMATS_BY_NAME:
        return _forced(record, FORMATS_BY_NAME[forced])
    if not missing_native(columns, has_course=False):
        check_native(columns, record, has_course=False)
        is_plain = KNOWN_COLUMNS.issuperset(columns.names)
        detected = None if is_plain else _complete_match(record)
        return detected or DetectedFormat(_native_format(columns.names), record, columns)
    detected = _of_other_system(record)
    if detected is not None:
        return detected
    if missing := missing_native(columns, has_course=has_course):
        error = native_error(columns, record, missing, has_course=has_course)
        raise unknown_error(_possible_headers(record), record, FORMATS, error)
    check_native(columns, record, has_course=has_course)
    return DetectedFormat(NATIVE, record, columns)


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
                check_complete(columns, record, format_)
                return DetectedFormat(format_.name, record, columns)
    return None


def _of_other_system(record: str) -> DetectedFormat | None:
    headers = _possible_headers(record)
    for format_ in FORMATS:
        for columns in headers:
            if format_.matches(columns.names):
                check_complete(columns, record, format_)
                return DetectedFormat(format_.name, record, columns)
    for format_ in FORMATS:
        if (detected := _headless(record, format_)) is not None:
            return detected
    return None


def _possible_headers(record: str) -> list[CsvColumns]:
    return [CsvColumns(it, names_of(record, it)) for it in DELIMITERS]


def _forced(record: str, format_: Format) -> DetectedFormat:
    headers = _possible_headers(record)
    for columns in headers:
        if format_.matches(columns.names):
            check_complete(columns, record, format_)
            return DetectedFormat(format_.name, record, columns)
    if format_.is_line is not None:
        return _headless(record, format_) or _as_lines(headers, format_)
    nearest = max(headers, key=lambda columns: -len(format_.missing_groups(columns.names)))
    raise format_error(nearest, record, format_)


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


@lru_cache(maxsize=256)
def written_names(format_: str, header: str) -> Mapping[str, str]:
    """Returns the file's names for the columns of another system's format, which are case-folded.

    An id's column that the file does not have has the name of the one that stands for it.
    """
    known = FORMATS_BY_NAME[format_]
    columns = columns_of_format(format_, header)
    names: dict[str, str] = {}
    ids: dict[str | None, str] = {}
    for name, folded in zip(cells_of(header, columns.delimiter), columns.names, strict=True):
        names.setdefault(known.canonical(folded), name.strip())
        ids.setdefault(known.meaning(folded), name.strip())
    numbered = {f"{stem}1": meaning for stem, meaning in (known.numbered or {}).items()}
    for column, meaning in {**known.columns, **numbered}.items():
        if meaning in {LEARNER_COLUMN, COURSE_COLUMN} and meaning in ids:
            names.setdefault(column.casefold(), ids[meaning])
    return names


def _meaning(format_: str, name: str) -> str | None:
    if format_ in NATIVE_FORMATS:
        return (
            _NATIVE_MEANINGS.get(name, name)
            if name in {*NATIVE_COLUMNS, OPENEDX_COURSE_COLUMN}
            else None
        )
    return FORMATS_BY_NAME[format_].meaning(name)


def unread_columns(format_: str, header: str) -> dict[str, str]:
    """Returns the columns of a file that are not read: case-folded names, and those as written.

    The columns of a result file that are not the file's own are left out.
    """
    columns = columns_of_format(format_, header)
    written = cells_of(header, columns.delimiter)
    return {
        folded: name.strip()
        for name, folded in zip(written, columns.names, strict=True)
        if folded and folded not in RESULT_COLUMNS and _meaning(format_, folded) is None
    }


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


def footer_of(format_: str) -> str | None:
    """Returns the case-folded beginning of lines at the end of a file that are no rows."""
    return None if format_ in NATIVE_FORMATS else FORMATS_BY_NAME[format_].footer


def has_course(format_: str, columns: CsvColumns) -> bool:
    """Returns whether the rows of a file have a column for the course."""
    if format_ in NATIVE_FORMATS:
        return not COURSE_COLUMNS.isdisjoint(columns.names)
    return any(FORMATS_BY_NAME[format_].meaning(name) == COURSE_COLUMN for name in columns.names)
