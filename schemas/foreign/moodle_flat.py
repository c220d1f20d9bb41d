"""Moodle's flat file: no header, an operation a line."""

import csv
from collections.abc import Sequence

from schemas.foreign.base import COURSE, LEARNER, ROLE, STATUS, Cells, Format, Reading, Wish

_OPERATIONS = {"add": True, "del": False}
_START, _END = "starttime", "endtime"
_FEWEST, _MOST = 4, 6


def read(cells: Cells) -> list[Wish]:
    """The wish of one row; its times are read for their order only."""
    reading = Reading(cells)
    reading.take("user", "user idnumber")
    reading.take("course_id", "course idnumber")
    reading.role("role", {"student"})
    reading.switch("operation", _OPERATIONS)
    _check_times(reading)
    return [reading.wish()]


def _check_times(reading: Reading) -> None:
    seconds = {}
    for column in (_START, _END):
        text = reading.cells.get(column, "0")
        if not (text.isascii() and text.isdigit() and len(text) <= 12):  # noqa: PLR2004 (year 33658)
            reading.blame(column, "type", "times are seconds since 1970, 0 for none")
            return
        seconds[column] = int(text)
    if 0 < seconds[_END] < seconds[_START]:
        reading.blame(_END, "range", "this is before starttime")


def is_line(cells: Sequence[str]) -> bool:
    """Whether a line has as many cells, and begins with an operation."""
    return _FEWEST <= len(cells) <= _MOST and _bare(cells[0]).casefold() in _OPERATIONS


def tidied(cells: Sequence[str]) -> Sequence[str]:
    """The cells as Moodle cuts them: at ``;`` where there is no comma, single quotes taken off."""
    if cells and ";" in cells[0] and not any(cells[1:_MOST]):
        own = next(csv.reader(cells[:1], delimiter=";"), [])
        cells = [*own, *[""] * (_MOST - len(own)), *cells[_MOST:]]
    if cells and cells[0].strip().startswith("'"):
        return [cell.strip().strip("'") for cell in cells]
    return cells


def _bare(cell: str) -> str:
    return cell.strip().strip("'\"")


FORMAT = Format(
    name="moodle_flat",
    title="Moodle flat file (no header)",
    columns={
        "operation": STATUS,
        "role": ROLE,
        "user idnumber": LEARNER,
        "course idnumber": COURSE,
        _START: "",
        _END: "",
    },
    marks=(("operation",), ("role",), ("user idnumber",), ("course idnumber",)),
    read=read,
    is_line=is_line,
    tidied=tidied,
)
