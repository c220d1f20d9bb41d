"""Parses the rows of a file of another system into requests."""

import csv
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import chain, repeat

import structlog

from schemas.files.csv_rows import CsvColumns, unescape_cell, unescape_id
from schemas.files.formats.base import (
    COURSE_COLUMN,
    LEARNER_COLUMN,
    NUMBERED,
    Cells,
    RowIntent,
)
from schemas.files.formats.detect import FORMATS_BY_NAME
from schemas.findings import finding

log = structlog.get_logger()

#: Errors that a parser of rows may raise. Not `Exception`: the time limit of a task is one as well.
_PARSER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
    csv.Error,
)


#: Formats and types of errors that this process has logged.
_logged: set[tuple[str, type[Exception]]] = set()


def _log_once(format_: str, error: Exception) -> None:
    """Logs an error of a format's parser, once for each format and type of error."""
    if (format_, type(error)) not in _logged:
        _logged.add((format_, type(error)))
        log.error("format.reader_failed", format=format_, exc_info=error)


class FormatReader:
    """Reads the rows of one file."""

    def __init__(
        self,
        format_: str,
        columns: CsvColumns,
        course_id: str | None = None,
        *,
        at: datetime | None = None,
    ) -> None:
        self._format = FORMATS_BY_NAME[format_]
        #: The effective time of the rows; None: it does not matter which records are current.
        self._at = at
        self._width = len(columns.names)
        self._course_id = course_id
        self.binds_email = self._format.binds_email
        self._read_columns = [
            (self._format.canonical(name), index, self._unescape(name))
            for index, name in enumerate(columns.names)
            if self._format.meaning(name) is not None
        ]
        self._numbers = [self._number_of(name) for name in columns.names]

    def _unescape(self, name: str) -> Callable[[str], str]:
        is_id = self._format.meaning(name) in {LEARNER_COLUMN, COURSE_COLUMN}
        return unescape_id if is_id else unescape_cell

    def _number_of(self, name: str) -> str | None:
        """Returns the number of a numbered column with a meaning in a request."""
        if not self._format.meaning(name):
            return None
        matched = NUMBERED.fullmatch(self._format.canonical(name))
        return matched[2] if matched else None

    def count(self, cells: Sequence[str]) -> int:
        """Returns how many requests a row means; one that cannot be read means one."""
        try:
            return self._format.count(self._by_column(self._normalized(cells)))
        except _PARSER_ERRORS as error:
            _log_once(self._format.name, error)
            return 1

    def intents(self, cells: Sequence[str]) -> list[RowIntent]:
        """Returns the requests of a row, as many as `count` says.

        Errors are findings of the row, not exceptions, also those that its format's parser raises.
        """
        try:
            return list(self._parse(cells))
        except _PARSER_ERRORS as error:
            _log_once(self._format.name, error)
            message = f"the row cannot be read as {self._format.name}"
            unreadable = finding("", " ".join(cells), "unreadable", message)
            return [RowIntent({}, {}, (unreadable,))] * self.count(cells)

    def _parse(self, cells: Sequence[str]) -> Iterator[RowIntent]:
        cells = self._normalized(cells)
        extra = next((cell for cell in cells[self._width :] if cell.strip()), None)
        for intent in self._format.parse(self._by_column(cells), self._at):
            if self._course_id is not None:
                intent.body.setdefault("course_id", self._course_id)
            if extra is not None:
                message = f"{len(cells)} cells under {self._width} columns"
                wide = finding("", extra, "columns", message)
                yield intent._replace(findings=(wide, *intent.findings), not_applicable=None)
            else:
                yield intent

    def cells_of_intent(self, cells: list[str], intent: RowIntent) -> list[str]:
        """Returns the cells of a row with those of its other requests emptied."""
        if intent.number is None:
            return cells
        numbers_of_intent = {None, intent.number}
        numbers = chain(self._numbers, repeat(None))
        return [
            cell if number in numbers_of_intent else ""
            for cell, number in zip(cells, numbers, strict=False)
        ]

    def _normalized(self, cells: Sequence[str]) -> Sequence[str]:
        return cells if self._format.normalize is None else self._format.normalize(cells)

    def _by_column(self, cells: Sequence[str]) -> Cells:
        number = len(cells)
        return {
            name: content
            for name, index, unescape in self._read_columns
            if index < number and (content := unescape(cells[index]))
        }
