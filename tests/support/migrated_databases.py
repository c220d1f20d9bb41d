"""Empty databases with all tables: copies of one that each test process migrates once.

A migration takes longer than most tests. Copies have the same installation id.
"""

import tempfile
from functools import cache
from pathlib import Path

from enrollment.storage import migrate


def migrated_sqlite(path: Path) -> str:
    """Writes a new SQLite database with all tables and no rows of requests; returns its URL."""
    path.write_bytes(_migrated_file())
    path.chmod(0o600)  # as the service makes it
    return f"sqlite:///{path}"


@cache
def _migrated_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.sqlite3"
        migrate.upgrade(f"sqlite:///{path}")
        journals = [*path.parent.glob("*-journal"), *path.parent.glob("*-wal")]
        assert [each.name for each in journals if each.stat().st_size] == []
        return path.read_bytes()
