"""Python columns as a table inside a statement: one statement whatever the batch's size."""

import json
from collections.abc import Sequence
from typing import Any

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
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from enrollment.storage.sessions import is_postgresql

#: A column of the table: its type, and its values in order.
Column = tuple[TypeEngine[Any], Sequence[Any]]


def table_of(session: Session, name: str, **columns: Column) -> FromClause:
    """A table with the given columns, in the order of their values.

    On PostgreSQL ``unnest`` of one array a column (the fastest way in by a factor of three);
    on SQLite ``json_each`` of one document. Values are text, numbers, booleans or None; the
    column ``ordinality`` counts from 1.
    """
    if is_postgresql(session):
        return _unnested(name, columns)
    return _json_rows(name, columns)


def _unnested(name: str, columns: dict[str, Column]) -> FromClause:
    arrays = [
        cast(bindparam(None, array_text(values), type_=Text(), unique=True), ARRAY(kind))
        for kind, values in columns.values()
    ]
    shape = [column(label, kind) for label, (kind, _) in columns.items()]
    return (
        func.unnest(*arrays)
        .table_valued(*shape, with_ordinality="ordinality", name=name)
        .render_derived(name=name)
    )


def array_text(values: Sequence[Any]) -> str:
    """The values as PostgreSQL writes an array.

    The driver's own way takes 1 µs a value, half of a batch's time; this takes 0.1 µs.
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


def _quoted(value: str | None) -> str:
    if value is None:
        return "NULL"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _json_rows(name: str, columns: dict[str, Column]) -> FromClause:
    rows = list(zip(*(values for _, values in columns.values()), strict=True))
    document = bindparam(None, json.dumps(rows), type_=Text(), unique=True)
    source = func.json_each(document).table_valued("key", "value", name=f"{name}_rows")
    cells: list[ColumnElement[Any]] = [
        type_coerce(func.json_extract(source.c.value, literal_column(f"'$[{place}]'")), kind).label(
            label
        )
        for place, (label, (kind, _)) in enumerate(columns.items())
    ]
    cells.append((source.c.key + 1).label("ordinality"))
    return select(*cells).select_from(source).subquery(name)


def encoded(value: object) -> str:
    """JSON text for a column of a table made by ``table_of``."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def as_json(session: Session, cell: ColumnElement[Any]) -> ColumnElement[Any]:
    """A text column of such a table, where JSON is to be stored."""
    return cast(cell, JSON) if is_postgresql(session) else cell


def as_uuid(session: Session, cell: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column of hex texts, where UUIDs are to be stored."""
    return cast(cell, Uuid) if is_postgresql(session) else cell
