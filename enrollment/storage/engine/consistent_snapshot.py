"""A consistent, read-only snapshot of the database.

On PostgreSQL it is a `REPEATABLE READ` transaction. On SQLite a long read would block all writers,
so the database is copied while the write lock is held, and the copy is read afterwards.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from enrollment.domain.errors import DatabaseUnavailable, EnrollmentError
from enrollment.storage.engine.error_mapping import translate_errors
from enrollment.storage.engine.sessions import Sessions


class NoSpaceForSnapshot(EnrollmentError):
    """There is not enough disk space for a copy of SQLite's database."""


@contextmanager
def snapshot(sessions: Sessions) -> Iterator[Session]:
    """Yields a session that reads the database as it is now, until the end of the block.

    Raises DatabaseUnavailable if the database does not exist or does not respond, and
    NoSpaceForSnapshot.
    """
    engine = sessions.engine
    database = engine.url.database
    if engine.dialect.name != "sqlite":
        bind = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with translate_errors(), Session(bind) as session:
            yield session
    elif database in {None, "", ":memory:"}:
        with sessions.begin() as session:  # blocks only this process
            yield session
    else:
        with _copy(sessions, Path(str(database))) as session:
            yield session


@contextmanager
def _copy(sessions: Sessions, database: Path) -> Iterator[Session]:
    if not database.is_file():
        message = f"there is no {database}"
        raise DatabaseUnavailable(message)
    copy = _temporary_copy(sessions, database)
    engine = create_engine("sqlite://", creator=lambda: copy, poolclass=StaticPool)
    try:
        with translate_errors(), Session(engine) as session:
            yield session
    finally:
        engine.dispose()
        copy.close()


def _temporary_copy(sessions: Sessions, database: Path) -> sqlite3.Connection:
    """Returns a connection to a copy of the database; closing it frees the disk space.

    The file of the copy is deleted already, so it does not outlive this process.
    """
    with TemporaryDirectory(prefix="enroll-copy-") as folder:
        copy = sqlite3.connect(
            Path(folder) / "copy.sqlite3", isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
                copy.execute(f"PRAGMA {pragma}").close()
            with sessions.begin() as session:
                session.connection()  # begins the transaction, which blocks other writers
                _vacuum_into(copy, database, Path(folder))
            copy.execute("PRAGMA query_only=ON").close()
        except BaseException:
            copy.close()
            raise
        return copy


def _vacuum_into(copy: sqlite3.Connection, database: Path, folder: Path) -> None:
    """Copies the database by SQLite's backup API.

    To copy the file directly is no option: closing any descriptor of it drops SQLite's locks.
    """
    needed, free = database.stat().st_size, shutil.disk_usage(folder).free
    message = (
        f"a copy of {needed / 1e6:,.0f} MB is needed, and {folder.parent} has room for "
        f"{free / 1e6:,.0f} MB: set TMPDIR to a folder with more"
    )
    if needed > free:
        raise NoSpaceForSnapshot(message)
    source = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
    try:
        source.backup(copy)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise NoSpaceForSnapshot(message) from error
        raise DatabaseUnavailable(str(error)) from error
    finally:
        source.close()
