"""Overlapping transactions on a database that allows only one at a time.

READ COMMITTED allows other commits between the reads and the first write of a transaction. At that
point the transaction, still without writes, is committed; others commit theirs; then it begins
again. The caller must not run anything there that row locks would block.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

_WRITES = ("INSERT", "UPDATE", "DELETE")


class OverlapPoint:
    """The point between the reads and the first write of a transaction."""

    def __init__(self, engine: Engine, run_concurrently: Callable[[], None]) -> None:
        self._run_concurrently = run_concurrently
        self._is_open = False
        event.listen(engine, "before_cursor_execute", self._before_execute)

    @contextmanager
    def within(self) -> Iterator[None]:
        """Enables the point for the transaction inside the block."""
        before, self._is_open = self._is_open, True
        try:
            yield
        finally:
            self._is_open = before

    def _before_execute(self, connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if not self._is_open or not sql.startswith(_WRITES):
            return
        self._is_open = False
        raw = connection.connection.dbapi_connection
        raw.execute("COMMIT")
        try:
            self._run_concurrently()
        finally:
            raw.execute("BEGIN IMMEDIATE")
