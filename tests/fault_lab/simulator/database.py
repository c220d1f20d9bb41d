"""A database in memory that is reset to a snapshot in a fraction of a millisecond."""

import sqlite3
import tempfile
from pathlib import Path

from sqlalchemy import Engine

from enrollment.storage.engine.engines import make_engine
from tests.support.migrated_databases import migrated_sqlite


def migrated() -> sqlite3.Connection:
    """Returns an empty database with the current tables."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.sqlite3"
        migrated_sqlite(path)
        source = sqlite3.connect(path)
        copy = sqlite3.connect(":memory:")
        source.backup(copy)
        source.close()
    return copy


class Database:
    """One SQLite database in memory, with named snapshots."""

    def __init__(self) -> None:
        self.engine: Engine = make_engine("sqlite://")
        self._empty = migrated()
        self._snapshots: dict[object, sqlite3.Connection] = {}
        with self.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
        assert isinstance(raw, sqlite3.Connection)
        #: The only connection, shared by all; no transaction may stay open on it.
        self.connection = raw

    def query_row(self, query: str) -> tuple[int, ...]:
        """Returns the one row of a query."""
        row: tuple[int, ...] = self.connection.execute(query).fetchone()
        return row

    def reset(self, snapshot: object = None) -> bool:
        """Restores a snapshot, or the empty database; returns whether the snapshot exists."""
        saved = self._snapshots.get(snapshot, self._empty)
        saved.backup(self.connection)
        return snapshot in self._snapshots

    def save_snapshot(self, snapshot: object) -> None:
        """Saves a snapshot under a name."""
        copy = sqlite3.connect(":memory:", check_same_thread=False)
        self.connection.backup(copy)
        self._snapshots[snapshot] = copy

    def close(self) -> None:
        """Closes all connections."""
        for copy in (*self._snapshots.values(), self._empty):
            copy.close()
        self.engine.dispose()
