"""CSV files of courses and learners: each row becomes one object."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import NamedTuple

from api_gateway.cli.exit_codes import FileRefused

#: In a cell of a column that can be cleared: no value.
NONE = "none"
_DELIMITERS = ",;\t"
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
#: Parts of a mode in the column `modes`: slug, price, currency, expiration.
_MODE_MEMBERS = ("slug", "min_price", "currency", "expiration_datetime")


class Column(NamedTuple):
    """A column: the member that it sets, and how its cells are parsed."""

    member: str
    parse: Callable[[str], object]


class _InvalidCell(ValueError):
    """A cell cannot be parsed; the message says what it must be."""


def parse_text(cell: str) -> object:
    """Returns the text."""
    return cell


def parse_optional(cell: str) -> object:
    """Returns the text, or None for `none`."""
    return None if cell.lower() == NONE else cell


def parse_flag(cell: str) -> object:
    """Returns a boolean."""
    if cell.lower() not in _FLAGS:
        message = "is neither true nor false (write true, false, 1, 0, yes or no)"
        raise _InvalidCell(message)
    return _FLAGS[cell.lower()]


def parse_count(cell: str) -> object:
    """Returns a whole number, or None for `none`."""
    if cell.lower() == NONE:
        return None
    if not (cell.isascii() and cell.isdigit()):
        message = "is not a whole number (or `none`)"
        raise _InvalidCell(message)
    return int(cell[:20])


def parse_list(cell: str) -> object:
    """Returns the texts between semicolons; an empty list for `none`."""
    if cell.lower() == NONE:
        return []
    return [part.strip() for part in cell.split(";") if part.strip()]


def parse_modes(cell: str) -> object:
    """Returns course modes from `slug[:price[:currency[:expiration]]];…`."""
    if cell.lower() == NONE:
        return []
    return [_parse_mode(part.strip()) for part in cell.split(";") if part.strip()]


def _parse_mode(text: str) -> dict[str, object]:
    parts = text.split(":", len(_MODE_MEMBERS) - 1)
    mode: dict[str, object] = {
        name: part for name, part in zip(_MODE_MEMBERS, parts, strict=False) if part
    }
    if "min_price" in mode:
        mode["min_price"] = parse_count(str(mode["min_price"]))
    return mode


def to_ndjson(
    contents: bytes, columns: Mapping[str, Column], *, ignored: frozenset[str] = frozenset()
) -> bytes:
    """Returns the rows as NDJSON, each on the line on which it begins in the CSV file.

    Thus errors of the service have the line of the CSV file. An empty cell sets no member.
    Raises FileRefused for an unknown column or an invalid cell.
    """
    lines: list[str] = []
    names: list[str] | None = None
    for line, cells in _records(contents):
        if names is None:
            names = [name.strip().lower() for name in cells]
            _check_header(names, columns, ignored)
            continue
        row = {
            columns[name].member: _parse(line, name, columns[name], cell)
            for name, cell in zip(names, cells, strict=False)
            if name in columns and cell.strip()
        }
        if row:
            lines += [""] * (line - 1 - len(lines))
            lines.append(json.dumps(row))
    return "\n".join(lines).encode()


def _records(contents: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yields each record with the line on which it begins."""
    try:
        text = contents.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = contents[: error.start].count(b"\n") + 1
        message = f"line {line}: this is not UTF-8: save the file as CSV UTF-8."
        raise FileRefused(message) from error
    header = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        message = f"line {line}: {error}."
        raise FileRefused(message) from error


def _check_header(names: list[str], columns: Mapping[str, Column], ignored: frozenset[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        message = f"line 1: the column {twice!r} is there twice."
        raise FileRefused(message)
    for name in names:
        if name in columns or name in ignored:
            continue
        near = get_close_matches(name, columns, n=1)
        advice = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(columns)}."
        message = f"line 1: unknown column {name!r}; {advice}"
        raise FileRefused(message)


def _parse(line: int, name: str, column: Column, cell: str) -> object:
    if "\ufffd" in cell:
        message = f"line {line}, {name}: the character \ufffd stands for one that was lost."
        raise FileRefused(message)
    try:
        return column.parse(cell.strip())
    except _InvalidCell as error:
        message = f"line {line}, {name}: {cell.strip()!r} {error}."
        raise FileRefused(message) from error
