"""Transactions that overlap, on a database that knows only one at a time.

What READ COMMITTED allows takes place where it matters: between what a worker's transaction
has read and the first thing that it writes. There the (still empty) transaction is ended,
others commit theirs, and it begins again, none the wiser. Whom row locks would keep waiting
must not be let in; that is for those who choose the others.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

_WRITES = ("INSERT", "UPDATE", "DELETE")


class OverlapPoint:
    """The place between reading and writing of the transaction that runs."""

    def __init__(self, engine: Engine, beside: Callable[[], None]) -> None:
        self._beside = beside
        self._is_open = False
        event.listen(engine, "before_cursor_execute", self._look)

    @contextmanager
    def within(self) -> Iterator[None]:
        """A transaction that has one, inside the block."""
        before, self._is_open = self._is_open, True
        try:
            yield
        finally:
            self._is_open = before

    def _look(self, connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if not self._is_open or not sql.startswith(_WRITES):
            return
        self._is_open = False
        raw = connection.connection.dbapi_connection
        raw.execute("COMMIT")
        try:
            self._beside()
        finally:
            raw.execute("BEGIN IMMEDIATE")
