"""Parses CSV headers and rows with the native columns."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from schemas.encoding.i_json import InvalidJson, loads
from schemas.fields import MAX_MODE, is_course_key, parse_timestamp
from schemas.findings import finding
from schemas.requests.fast_parser import is_email, is_short_text, is_username
from schemas.requests.parsed import MAX_COHORT, InvalidRequest, ParsedRequest
from schemas.requests.schema import load_request

#: The native columns, in the order in which the fast path picks them.
NATIVE_COLUMNS = (
    "user",
    "email",
    "course_id",
    "mode",
    "is_active",
    "requested_at",
    "cohort",
    "force_enrollment",
    "enrollment_attributes",
    "email_opt_in",
)
#: The course column of clients of Open edX; takes precedence over `course_id`.
OPENEDX_COURSE_COLUMN = "course_details.course_id"
COURSE_COLUMNS = frozenset({"course_id", OPENEDX_COURSE_COLUMN})
KNOWN_COLUMNS = frozenset({*NATIVE_COLUMNS, *COURSE_COLUMNS})
EXPECTED_COLUMNS = "columns course_id and user (or email), separated by , ; tab or |"
MAX_COLUMNS = 1_000
#: Distinct parts of rows that are cached while rows are read.
MAX_CACHED_PARTS = 4_096
DELIMITERS = ",;\t|"
#: A line that names the separator of cells for a spreadsheet.
SEPARATOR_LINE = re.compile(r"""\s*"?sep=.?"?\s*""", re.IGNORECASE)
#: Columns of a result file behind the file's own.
RESULT_COLUMNS = ("outcome", "reason", "message")

_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
#: The most common spellings.
_COMMON_FLAGS = {
    spelled: flag
    for word, flag in _FLAGS.items()
    for spelled in (word, word.upper(), word.capitalize())
}
_ACTIVE = _COMMON_FLAGS | {"": True}
_FORCE = _COMMON_FLAGS | {"": False}
_OPT_IN: Mapping[str, bool | None] = {**_COMMON_FLAGS, "": None}
#: Signs that stand before text unseen: spaces, and marks of zero width.
_UNSEEN = r"[\s\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*"
#: Beginnings of formulas, which spreadsheets evaluate: also after spaces, in full width, small.
_FORMULA = re.compile(_UNSEEN + r"[=+\-@\t\r\n\0＝＋－＠﹦﹢﹣﹫]")  # noqa: RUF001 (they are meant)
#: The rest of a cell behind a sign at which a spreadsheet may split the line once more.
CELL_PART = re.compile(r"(?<=[;,])[^;,]+")
#: An id kept as text for a spreadsheet: `'0012` or `="0012"`.
_ID_AS_TEXT = re.compile(r"""(?:'([0-9][0-9A-Za-z_.-]*)'?|="([0-9][0-9A-Za-z_.-]*)")""")
#: Native columns with ids that another program may have kept as text.
_ID_COLUMNS = frozenset({"user", *COURSE_COLUMNS})
#: Beginnings of a cell that may be such an id.
_ID_MARKS = frozenset("'=")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_new = tuple.__new__


class CsvColumns(NamedTuple):
    """Delimiter and columns of the rows below a header."""

    delimiter: str
    #: Trimmed and case-folded.
    names: tuple[str, ...]

    @property
    def blanks(self) -> str:
        """The characters that a blank row consists of; Ctrl-Z ended files of DOS."""
        return self.delimiter + ' \t\r\n"\x1a'


class LenientDialect(csv.excel):
    """CSV as people write it: spaces before a cell, also before its quote, are dropped."""

    skipinitialspace = True


def cells_of(record: str, delimiter: str) -> list[str]:
    """Returns the cells of one record."""
    return next(
        csv.reader(io.StringIO(record, newline=""), LenientDialect, delimiter=delimiter), []
    )


@lru_cache(maxsize=64)
def columns_of(header: str) -> CsvColumns:
    """Parses a header; `formats.detect` checks whether it is complete when a file comes in."""
    return _most_likely(header)


def _most_likely(header: str) -> CsvColumns:
    candidates = [CsvColumns(it, names_of(header, it)) for it in DELIMITERS]
    return max(candidates, key=lambda c: (len(KNOWN_COLUMNS.intersection(c.names)), len(c.names)))


def is_unclosed(header: str) -> bool:
    """Returns whether a quote of the header is still open at its end."""
    more = iter([""])
    lines = chain(io.StringIO(header, newline=""), more)
    next(csv.reader(lines, LenientDialect, delimiter=_most_likely(header).delimiter), None)
    return next(more, None) is None


def names_of(header: str, delimiter: str) -> tuple[str, ...]:
    """Returns the names in a header, trimmed and case-folded."""
    return tuple(unescape_cell(name).casefold() for name in cells_of(header, delimiter))


@lru_cache(maxsize=64)
def fast_reader(
    columns: CsvColumns, course_id: str | None = None
) -> Callable[[list[str]], ParsedRequest | None]:
    """Returns a function that parses well-formed rows, and returns None where it is not certain.

    `course_id` is the course of rows that have no column for one.
    `row_request` is the reference: a result of the fast path equals its result. The parts of
    rows beside the username recur, so they are cached.
    """
    width = len(columns.names)
    if set(columns.names) >= COURSE_COLUMNS:
        return lambda _cells: None
    pick = _picker(columns.names)
    absent = ["", course_id or ""]
    cache: dict[tuple[str, ...], tuple[Any, ...] | None] = {}

    def read(cells: list[str]) -> ParsedRequest | None:
        if len(cells) != width:
            return None
        picked = pick(cells + absent)
        user, others = picked[0], picked[1:]
        rest = cache.get(others, ())
        if rest == ():  # not cached yet
            if len(cache) >= MAX_CACHED_PARTS:
                cache.clear()
            rest = cache[others] = _parse_rest(others)
        if rest is None or not ((is_username(user) and is_trimmed(user)) if user else rest[0]):
            return None
        return _new(ParsedRequest, (user or None, *rest))

    return read


def _parse_rest(cells: Sequence[str]) -> tuple[Any, ...] | None:
    """Parses all cells but the username; None where it is not certain."""
    email, course_id, mode, active, requested_at, cohort, forced, attributes, opt_in = cells
    is_active, force = _ACTIVE.get(active), _FORCE.get(forced)
    requested_time = parse_timestamp(requested_at) if requested_at else None
    if attributes or is_active is None or force is None or opt_in not in _OPT_IN:
        return None
    if requested_at and requested_time is None:
        return None
    if not _are_valid(email, course_id, mode, cohort):
        return None
    return (
        email.lower() or None,  # `is_email` accepts ASCII only
        course_id,
        is_active,
        mode or None,
        None,  # attributes
        cohort or None,
        force,
        requested_time,
        _OPT_IN[opt_in],
    )


def _picker(names: Sequence[str]) -> Callable[[Sequence[str]], tuple[str, ...]]:
    """Returns a function that orders cells as `NATIVE_COLUMNS`.

    Two cells are appended to the row: the one that stands for an absent column, and the course
    where no column has it.
    """
    places = {name: names.index(name) for name in KNOWN_COLUMNS.intersection(names)}
    course = places.get(OPENEDX_COURSE_COLUMN, len(names) + 1)
    places.setdefault("course_id", course)
    return itemgetter(*[places.get(name, len(names)) for name in NATIVE_COLUMNS])


def _are_valid(email: str, course_id: str, mode: str, cohort: str) -> bool:
    return (
        is_course_key(course_id)
        and (not email or (is_email(email) and is_trimmed(email)))
        and (not mode or (is_short_text(mode, MAX_MODE) and is_trimmed(mode)))
        and (not cohort or (is_short_text(cohort, MAX_COHORT) and is_trimmed(cohort)))
    )


def is_trimmed(text: str) -> bool:
    """Returns whether a cell's content begins and ends with the cell, without escapes or spaces."""
    return text[0] not in "' " and text[-1] != " " and (text.isascii() or text == text.strip())


def row_request(
    cells: Sequence[str], columns: CsvColumns, course_id: str | None = None
) -> ParsedRequest:
    """Parses one row. Raises InvalidRequest with every finding."""
    return require_learner(load_request(row_body(cells, columns, course_id)))


def row_body(
    cells: Sequence[str], columns: CsvColumns, course_id: str | None = None
) -> dict[str, Any]:
    """Returns a row as the body of a request. Raises InvalidRequest where that is not possible.

    `course_id` is the course of rows that have no column for one.
    """
    names = columns.names
    if any(cell.strip() for cell in cells[len(names) :]):
        extra = next(cell for cell in cells[len(names) :] if cell.strip())
        message = f"{len(cells)} cells under {len(names)} columns"
        raise InvalidRequest([finding("", extra, "columns", message)])
    body = recognized_cells(cells, columns)
    if course_id is not None:
        body.setdefault("course_id", course_id)
    for name in ("is_active", "force_enrollment", "email_opt_in"):
        if name in body:
            body[name] = _FLAGS.get(body[name].casefold(), body[name])
    if "enrollment_attributes" in body:
        body["enrollment_attributes"] = _json_cell(body["enrollment_attributes"])
    return body


def recognized_cells(cells: Sequence[str], columns: CsvColumns) -> dict[str, Any]:
    """Returns the cells of the native columns by name, without escapes; empty ones are left out."""
    body = {
        name: bare
        for name, cell in zip(columns.names, cells, strict=False)
        if name in KNOWN_COLUMNS
        and (bare := unescape_id(cell) if name in _ID_COLUMNS else unescape_cell(cell))
    }
    if OPENEDX_COURSE_COLUMN in body:
        body["course_id"] = body.pop(OPENEDX_COURSE_COLUMN)
    return body


def require_learner(request: ParsedRequest) -> ParsedRequest:
    """Returns the request. Raises InvalidRequest if it has no learner, as every row must."""
    if request.username is None and request.email is None:
        raise InvalidRequest([finding("user", None, "required", "a row needs a user or an email")])
    return request


def unescape_cell(cell: str) -> str:
    """Returns a cell's content without the apostrophes that stop a spreadsheet's evaluation."""
    if "'" not in cell:
        return cell.strip()
    marked = cell[0] == "'" and is_formula(cell[1:])
    return CELL_PART.sub(_unescape_part, cell[1:] if marked else cell).strip()


def unescape_id(cell: str) -> str:
    """Returns the content of a cell with an id; one kept as text, such as `'0012`, is read so."""
    bare = unescape_cell(cell)
    kept = _ID_AS_TEXT.fullmatch(bare) if bare[:1] in _ID_MARKS else None
    return bare if kept is None else kept[1] or kept[2]


def is_formula(cell: str) -> bool:
    """Returns whether a spreadsheet may evaluate a cell."""
    return _FORMULA.match(cell) is not None and _NUMBER.fullmatch(cell) is None


def _unescape_part(part: re.Match[str]) -> str:
    is_escaped = part[0][0] == "'" and is_formula(part[0][1:])
    return part[0][1:] if is_escaped else part[0]


def _json_cell(cell: str) -> Any:
    try:
        return loads(cell)
    except InvalidJson as error:
        raise InvalidRequest(
            [finding("enrollment_attributes", cell, "json", str(error))]
        ) from error
