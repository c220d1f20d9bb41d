"""Moodle's flat file: no header, one operation per line."""

from collections.abc import Sequence
from datetime import UTC, datetime

from schemas.files.formats import base
from schemas.files.formats.applicability import DateForm
from schemas.findings import Rule

_OPERATIONS = {"add": True, "del": False}
_START, _END = "starttime", "endtime"
_MIN_CELLS, _MAX_CELLS = 4, 6
#: The last second of the year 9999, after which there are no dates.
_MAX_SECONDS = 253_402_300_799


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12):  # noqa: PLR2004 (year 33658)
        message = f"not a number of seconds: {text[:20]!r}"
        raise ValueError(message)
    return int(text)


def _read_time(text: str) -> datetime | None:
    seconds = _seconds(text)
    return datetime.fromtimestamp(min(seconds, _MAX_SECONDS), UTC) if seconds else None


def _check_times(row: base.RowParser) -> None:
    """Reports an end before the start."""
    try:
        start, end = (_seconds(row.cells.get(column, "0")) for column in (_START, _END))
    except ValueError:
        return  # reported when the times are read
    if 0 < end < start:
        row.report(_END, "range", "this is before starttime")


def _is_line(cells: Sequence[str]) -> bool:
    first = cells[0].strip().strip("'\"").casefold()
    return _MIN_CELLS <= len(cells) <= _MAX_CELLS and first in _OPERATIONS


def _normalize(cells: Sequence[str]) -> Sequence[str]:
    """Splits the cells as Moodle does: at `;` where there is no comma, without single quotes."""
    if cells and ";" in cells[0] and not any(cells[1:_MAX_CELLS]):
        parts = [_unquoted(part) for part in cells[0].split(";")]
        cells = [*parts, *[""] * (_MAX_CELLS - len(parts)), *cells[_MAX_CELLS:]]
    if cells and cells[0].strip().startswith("'"):
        return [cell.strip().strip("'") for cell in cells]
    return cells


def _unquoted(cell: str) -> str:
    trimmed = cell.strip()
    is_quoted = len(trimmed) > 1 and trimmed[0] == trimmed[-1] == '"'
    return trimmed[1:-1].replace('""', '"') if is_quoted else cell


FORMAT = base.Format(
    name="moodle_flat",
    title="Moodle flat file (no header)",
    columns={
        "operation": base.STATUS_COLUMN,
        "role": base.ROLE_COLUMN,
        "user idnumber": base.LEARNER_COLUMN,
        "course idnumber": base.COURSE_COLUMN,
        _START: base.BEGIN_COLUMN,
        _END: base.END_COLUMN,
    },
    identifying_columns=(("operation",), ("role",), ("user idnumber",), ("course idnumber",)),
    statuses=_OPERATIONS,
    check=_check_times,
    dates=DateForm(_read_time, Rule.TYPE, "times are seconds since 1970, 0 for none"),
    is_line=_is_line,
    normalize=_normalize,
)
