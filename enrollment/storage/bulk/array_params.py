"""Tables of parameters: Python columns as a table in a statement, for batches of any size.

Statements are built once per dialect and cached by their modules: building one takes longer than
executing it.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    ColumnElement,
    FromClause,
    Text,
    Uuid,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.pg_binary_arrays import (
    BinaryArray,
    BinaryArrayType,
    binary_array_type,
    encode_array,
)


class ArrayTable:
    """A table of parameters in a statement: its name, its columns and their types.

    On PostgreSQL it is `unnest` of one array per column (three times as fast as alternatives), on
    SQLite `json_each` of one document. Values are text, numbers, booleans or None; the column
    `ordinality` counts from 1.
    """

    def __init__(self, name: str, **kinds: TypeEngine[Any]) -> None:
        self._name = name
        self._kinds = kinds

    @property
    def column_names(self) -> list[str]:
        """Returns the names of the columns, in order."""
        return list(self._kinds)

    def table(self, *, postgresql: bool) -> FromClause:
        """Returns the table for use in a statement; `parameters` returns its values."""
        return self._unnest() if postgresql else self._json_each()

    def parameters(self, session: Session, *values: Sequence[Any]) -> dict[str, object]:
        """Returns the statement's parameters for the values of each column, in their order."""
        if is_postgresql(session):
            return {
                f"{self._name}_{label}": _array(cells, kind)
                for (label, kind), cells in zip(self._kinds.items(), values, strict=True)
            }
        return {f"{self._name}_rows": json.dumps(list(zip(*values, strict=True)))}

    def _unnest(self) -> FromClause:
        arrays = [
            cast(bindparam(f"{self._name}_{label}", type_=_parameter_type(kind)), ARRAY(kind))
            for label, kind in self._kinds.items()
        ]
        columns = [column(label, kind) for label, kind in self._kinds.items()]
        return (
            func.unnest(*arrays)
            .table_valued(*columns, with_ordinality="ordinality", name=self._name)
            .render_derived(name=self._name)
        )

    def _json_each(self) -> FromClause:
        document = bindparam(f"{self._name}_rows", type_=Text())
        source = func.json_each(document).table_valued("key", "value", name=f"{self._name}_each")
        cells: list[ColumnElement[Any]] = [
            type_coerce(
                func.json_extract(source.c.value, literal_column(f"'$[{index}]'")), kind
            ).label(label)
            for index, (label, kind) in enumerate(self._kinds.items())
        ]
        cells.append((source.c.key + 1).label("ordinality"))
        return select(*cells).select_from(source).subquery(self._name)


class RenderedRows(NamedTuple):
    """The number of rows, and the parameters of their statement.

    They can be prepared while another statement is in flight.
    """

    rows: int
    parameters: Mapping[str, Any]


NO_ROWS = RenderedRows(0, {})


def _parameter_type(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    return Text() if binary_array_type(kind) is None else BinaryArrayType()


def _array(values: Sequence[Any], kind: TypeEngine[Any]) -> str | BinaryArray:
    binary_type = binary_array_type(kind)
    return array_text(values) if binary_type is None else encode_array(values, binary_type)


def array_text(values: Sequence[Any]) -> str:
    """Formats values as the text of a PostgreSQL array.

    The driver's adaptation takes 1 µs per value, half of a batch's time; this takes 0.1 µs.
    """
    first = next((value for value in values if value is not None), None)
    if isinstance(first, str):
        return _text_array(values)
    if None in values:
        return "{" + ",".join(["NULL" if v is None else str(v) for v in values]) + "}"
    return "{" + ",".join(map(str, values)) + "}"


def _text_array(values: Sequence[str | None]) -> str:
    if None not in values:
        text = '","'.join(values)  # type: ignore[arg-type]
        if "\\" not in text and text.count('"') == 2 * (len(values) - 1):
            return '{"' + text + '"}'
    return "{" + ",".join(map(_quoted, values)) + "}"


@lru_cache(maxsize=1_024)
def _quoted(value: str | None) -> str:
    if value is None:
        return "NULL"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def encode_json(value: object) -> str:
    """Returns compact JSON text for a text column of an `ArrayTable`."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def as_json(cell: ColumnElement[Any], *, postgresql: bool) -> ColumnElement[Any]:
    """Returns a text column of an `ArrayTable` as a JSON value to be stored."""
    return cast(cell, JSON) if postgresql else cell


def as_uuid(cell: ColumnElement[Any], *, postgresql: bool) -> ColumnElement[Any]:
    """Returns a column of hexadecimal texts as UUIDs to be stored."""
    return cast(cell, Uuid) if postgresql else cell


def insert_on(*, postgresql: bool) -> Any:
    """Returns the dialect's `insert`, which supports ON CONFLICT."""
    return pg.insert if postgresql else sqlite.insert
