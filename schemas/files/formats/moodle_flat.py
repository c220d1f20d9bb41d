"""Moodle's flat file: no header, one operation per line."""

import csv
from collections.abc import Sequence

from schemas.files.formats import base

_OPERATIONS = {"add": True, "del": False}
_START, _END = "starttime", "endtime"
_MIN_CELLS, _MAX_CELLS = 4, 6


def _check_times(row: base.RowParser) -> None:
    """Reports invalid times, and an end before the start; times have no other effect."""
    seconds = {}
    for column in (_START, _END):
        text = row.cells.get(column, "0")
        if not (text.isascii() and text.isdigit() and len(text) <= 12):  # noqa: PLR2004 (year 33658)
            row.report(column, "type", "times are seconds since 1970, 0 for none")
            return
        seconds[column] = int(text)
    if 0 < seconds[_END] < seconds[_START]:
        row.report(_END, "range", "this is before starttime")


def _is_line(cells: Sequence[str]) -> bool:
    first = cells[0].strip().strip("'\"").casefold()
    return _MIN_CELLS <= len(cells) <= _MAX_CELLS and first in _OPERATIONS


def _normalize(cells: Sequence[str]) -> Sequence[str]:
    """Splits the cells as Moodle does: at `;` where there is no comma, without single quotes."""
    if cells and ";" in cells[0] and not any(cells[1:_MAX_CELLS]):
        parts = next(csv.reader(cells[:1], delimiter=";"), [])
        cells = [*parts, *[""] * (_MAX_CELLS - len(parts)), *cells[_MAX_CELLS:]]
    if cells and cells[0].strip().startswith("'"):
        return [cell.strip().strip("'") for cell in cells]
    return cells


FORMAT = base.Format(
    name="moodle_flat",
    title="Moodle flat file (no header)",
    columns={
        "operation": base.STATUS_COLUMN,
        "role": base.ROLE_COLUMN,
        "user idnumber": base.LEARNER_COLUMN,
        "course idnumber": base.COURSE_COLUMN,
        _START: "",
        _END: "",
    },
    identifying_columns=(("operation",), ("role",), ("user idnumber",), ("course idnumber",)),
    statuses=_OPERATIONS,
    check=_check_times,
    is_line=_is_line,
    normalize=_normalize,
)
