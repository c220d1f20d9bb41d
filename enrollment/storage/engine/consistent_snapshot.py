"""One look at all records, the same from its first statement to its last, that writes nothing.

PostgreSQL gives it by itself. SQLite would make every writer wait for as long as it takes, so
there a copy is made while the writers' lock is held, and only that is waited for.
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

from enrollment.domain.errors import EnrollmentError, RecordsUnavailable
from enrollment.storage.engine.error_mapping import translate_errors
from enrollment.storage.engine.sessions import Sessions


class NoSpaceForSnapshot(EnrollmentError):
    """The copy of the records that is to be looked at finds no room."""


@contextmanager
def snapshot(sessions: Sessions) -> Iterator[Session]:
    """The records as they are at this moment, for as long as the block takes.

    Raises RecordsUnavailable where there are none or they do not answer, NoSpaceForSnapshot.
    """
    engine = sessions.engine
    database = engine.url.database
    if engine.dialect.name != "sqlite":
        look = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with translate_errors(), Session(look) as session:
            yield session
    elif database in {None, "", ":memory:"}:
        with sessions.begin() as session:  # nobody but this process is kept waiting
            yield session
    else:
        with _copy(sessions, Path(str(database))) as session:
            yield session


@contextmanager
def _copy(sessions: Sessions, database: Path) -> Iterator[Session]:
    if not database.is_file():
        message = f"there is no {database}"
        raise RecordsUnavailable(message)
    copy = _temporary_copy(sessions, database)
    engine = create_engine("sqlite://", creator=lambda: copy, poolclass=StaticPool)
    try:
        with translate_errors(), Session(engine) as session:
            yield session
    finally:
        engine.dispose()
        copy.close()


def _temporary_copy(sessions: Sessions, database: Path) -> sqlite3.Connection:
    """A copy that takes room for as long as it is open, however this process ends."""
    with TemporaryDirectory(prefix="enroll-copy-") as folder:
        copy = sqlite3.connect(
            Path(folder) / "copy.sqlite3", isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
                copy.execute(f"PRAGMA {pragma}").close()
            with sessions.begin() as session:
                session.connection()  # from here on nobody writes
                _vacuum_into(copy, database, Path(folder))
            copy.execute("PRAGMA query_only=ON").close()
        except BaseException:
            copy.close()
            raise
        return copy


def _vacuum_into(copy: sqlite3.Connection, database: Path, folder: Path) -> None:
    """The database copies itself: to open its file by hand would take away its locks."""
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
        raise RecordsUnavailable(str(error)) from error
    finally:
        source.close()
