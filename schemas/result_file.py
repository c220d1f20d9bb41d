"""Renders result files: the caller's own columns, then outcome, reason and message."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from enrollment.domain.model import Outcome
from enrollment.domain.rules import format_timestamp
from schemas.files.csv_rows import RESULT_COLUMNS, cells_of
from schemas.files.formats.detect import NATIVE, columns_of_format
from schemas.files.safe_cells import safe_cell
from schemas.messages.reason_messages import message_of
from schemas.outcomes import ArchiveLineJson, dump_outcome
from schemas.requests.parsed import ParsedRequest

#: Columns of the result file of a submission without a header.
NATIVE_HEADER = (
    "line",
    "user",
    "email",
    "course_id",
    "mode",
    "is_active",
    "requested_at",
    "enrollment_attributes",
    "cohort",
    "force_enrollment",
    "email_opt_in",
)
#: Columns with typed values. They are rendered as JSON, so that an invalid text keeps its quotes
#: and is still invalid when the file is sent again.
_TYPED = frozenset({"is_active", "enrollment_attributes", "force_enrollment", "email_opt_in"})


class ResultLayout(NamedTuple):
    """Delimiter and columns of a result file: those of the file that was sent."""

    delimiter: str
    columns: tuple[str, ...]
    #: Number of result columns of an earlier run behind them; they are replaced.
    old_result_columns: int = 0

    def header_line(self) -> str:
        """Returns the first line."""
        return self._line([*self.columns, *RESULT_COLUMNS])

    def row_line(self, outcome: Outcome, cells: Sequence[str]) -> str:
        """Returns one row: its own cells, as many as the header has, then the result.

        Cells beyond the header follow the result, so that the row stays invalid when it is sent
        again uncorrected.
        """
        width = len(self.columns)
        sent = [*cells[:width], *[""] * (width - len(cells))]
        result = [outcome.code.value, outcome.reason or "", message_of(outcome) or ""]
        extra = cells[width + self.old_result_columns :]
        return self._line([*sent, *result, *(extra if any(map(str.strip, extra)) else ())])

    def _line(self, cells: Iterable[str]) -> str:
        line = io.StringIO(newline="")
        writer = csv.writer(line, delimiter=self.delimiter, lineterminator="\r\n")
        writer.writerow([safe_cell(cell) for cell in cells])
        return line.getvalue()


def layout_of(header: str | None, format_: str = NATIVE) -> ResultLayout:
    """Returns the layout for a file with this header, or the native layout for None.

    A result file that is sent again has the result columns already; they are not repeated.
    """
    if header is None:
        return ResultLayout(",", NATIVE_HEADER)
    delimiter = columns_of_format(format_, header).delimiter
    names = tuple(cells_of(header, delimiter))
    if tuple(name.strip().casefold() for name in names[-len(RESULT_COLUMNS) :]) == RESULT_COLUMNS:
        return ResultLayout(delimiter, names[: -len(RESULT_COLUMNS)], len(RESULT_COLUMNS))
    return ResultLayout(delimiter, names)


def cells_from_request(
    outcome: Outcome,
    request: ParsedRequest | None,
    members: Mapping[str, object] = MappingProxyType({}),
) -> list[str]:
    """Returns the cells of a request without a header, or of the `members` of an invalid one."""
    if request is None and not members:
        return [str(outcome.line), outcome.user or "", "", outcome.course_id or ""]
    if request is None:
        return [
            str(outcome.line),
            *(_cell_of_value(name, members.get(name)) for name in NATIVE_HEADER[1:]),
        ]
    attributes = request.attributes
    return [
        str(outcome.line),
        request.username or "",
        request.email or "",
        request.course_id,
        request.mode or "",
        "true" if request.is_active else "false",
        format_timestamp(request.requested_at) if request.requested_at else "",
        "" if attributes is None else _json([a._asdict() for a in attributes]),
        request.cohort or "",
        "true" if request.force else "",
        "" if request.email_opt_in is None else _json(request.email_opt_in),
    ]


def _cell_of_value(name: str, value: object) -> str:
    """Returns a value as it was sent: a text where the column takes texts, else JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) and name not in _TYPED else _json(value)


def ndjson_line(outcome: Outcome, archive_line: ArchiveLineJson) -> str:
    """Renders one outcome as a line of NDJSON, with the place of its row in an archive."""
    return _json(dump_outcome(outcome) | archive_line) + "\n"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
