"""Counts the statements that are sent to a database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event


@contextmanager
def recorded_statements(engine: Any) -> Iterator[list[str]]:
    """Collects the statements of an engine, or of all (``Engine`` itself), during the block.

    BEGIN is not counted: the driver sends it.
    """
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


@contextmanager
def recorded_row_counts(engine: Any) -> Iterator[list[tuple[str, int]]]:
    """Collects the statements like `recorded_statements`, each with the number of its rows.

    The number is -1 for queries of SQLite, which does not know it.
    """
    seen: list[tuple[str, int]] = []

    def note(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            seen.append((statement, cursor.rowcount))

    event.listen(engine, "after_cursor_execute", note)
    yield seen
    event.remove(engine, "after_cursor_execute", note)
