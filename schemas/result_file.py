"""Result files: the caller's own columns, then outcome, reason, message."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from enrollment.domain.model import Outcome
from enrollment.domain.rules import format_timestamp
from schemas.files.csv_rows import RESULT_COLUMNS, cells_of, is_formula
from schemas.files.formats.detect import NATIVE as OURS
from schemas.files.formats.detect import columns_of_format
from schemas.outcomes import ArchiveLineJson, dump_outcome, message_of
from schemas.requests.parsed import ParsedRequest

#: Columns of requests that came without a header of their own.
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
)
#: Columns whose values are no texts: a text in them stays a fault, for its quotes stay.
_TYPED = frozenset({"is_active", "enrollment_attributes", "force_enrollment"})


def safe_cell(cell: str) -> str:
    """A cell that no spreadsheet runs; reading takes the apostrophe away again."""
    return "'" + cell if is_formula(cell) else cell


class ResultLayout(NamedTuple):
    """How a result file is written: like the file that was sent."""

    delimiter: str
    columns: tuple[str, ...]
    #: Columns behind them that hold an older answer.
    old_result_columns: int = 0

    def header_line(self) -> str:
        """The first line."""
        return self._line([*self.columns, *RESULT_COLUMNS])

    def row_line(self, outcome: Outcome, cells: Sequence[str]) -> str:
        """One row: its own cells, as many as the header has, and the answer.

        Cells that have no column stand behind it: a row is not mended by losing them.
        """
        width = len(self.columns)
        own = [*cells[:width], *[""] * (width - len(cells))]
        answer = [outcome.code.value, outcome.reason or "", message_of(outcome) or ""]
        more = cells[width + self.old_result_columns :]
        return self._line([*own, *answer, *(more if any(map(str.strip, more)) else ())])

    def _line(self, cells: Iterable[str]) -> str:
        line = io.StringIO(newline="")
        writer = csv.writer(line, delimiter=self.delimiter, lineterminator="\r\n")
        writer.writerow([safe_cell(cell) for cell in cells])
        return line.getvalue()


def layout_of(header: str | None, format_: str = OURS) -> ResultLayout:
    """The layout of a file with a header, or our own for one without.

    A result file that was mended and sent again has our columns already.
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
    told: Mapping[str, object] = MappingProxyType({}),
) -> list[str]:
    """The cells of a request that came without a header, or of what was told in its place."""
    if request is None and not told:
        return [str(outcome.line), outcome.user or "", "", outcome.course_id or ""]
    if request is None:
        return [
            str(outcome.line),
            *(_cell_of_value(name, told.get(name)) for name in NATIVE_HEADER[1:]),
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
    ]


def _cell_of_value(name: str, value: object) -> str:
    """A value as it was sent: a text where the column takes texts, else JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) and name not in _TYPED else _json(value)


def ndjson_line(outcome: Outcome, place: ArchiveLineJson) -> str:
    """One outcome as a line of NDJSON; ``place`` is where its line stands in an archive."""
    return _json(dump_outcome(outcome) | place) + "\n"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
