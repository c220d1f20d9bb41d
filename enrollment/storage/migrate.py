"""Database migrations: upgrades, downgrades and the current revision.

A migration holds an advisory lock, so of two concurrent upgrades the second has nothing to do. It
runs in one transaction, so a failed one changes nothing.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from enrollment.domain.errors import EnrollmentError
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.sessions import sessions_for

#: Key of the advisory lock of migrations; the same in every release.
_ADVISORY_LOCK = 7_316_455_022_101
_MIGRATION_LOCK_TIMEOUT = "60s"
_FOLDER = Path(__file__).with_name("migrations")
#: Alembic keeps its state in module globals, so one process runs one command at a time.
_alembic_lock = threading.Lock()


class UnknownRevision(EnrollmentError):
    """The database is at a revision that this release does not know."""


def upgrade(url: str, revision: str = "head") -> None:
    """Upgrades the database to a revision.

    Raises UnknownRevision if a later release upgraded it, DatabaseUnavailable.
    """
    with _exclusive_connection(url) as config:
        command.upgrade(config, revision)


def downgrade(url: str, revision: str) -> None:
    """Downgrades the database to a revision; `base` drops all tables, including their data.

    Raises UnknownRevision, DatabaseUnavailable.
    """
    with _exclusive_connection(url) as config:
        command.downgrade(config, revision)


def draft(url: str, message: str) -> list[str]:
    """Writes a migration from the difference of `tables` and the database; returns its paths."""
    with _exclusive_connection(url) as config:
        number = f"{int(head()) + 1:04d}"
        created = command.revision(config, message=message, autogenerate=True, rev_id=number)
    scripts = created if isinstance(created, list) else [created]
    return [script.path for script in scripts if script is not None]


def pending(url: str) -> list[str]:
    """Returns the revisions that the database still lacks, oldest first."""
    sessions = sessions_for(url, pool_size=1)
    try:
        with sessions.read() as session:
            revisions = _pending_revisions(session)
    finally:
        sessions.dispose()
    return revisions


def current(session: Session) -> str | None:
    """Returns the revision of the database; None before the first."""
    return MigrationContext.configure(session.connection()).get_current_revision()


def is_current(session: Session) -> bool:
    """Whether the database is at this release's revision, or a later release's."""
    return current(session) == head() or not _pending_revisions(session)


@cache
def head() -> str:
    """Returns the revision that this release needs."""
    return str(_scripts().get_current_head())


def _pending_revisions(session: Session) -> list[str]:
    """Returns the revisions that are lacking; none if the database has a later release's revision.

    An unknown revision is a later release's, and contains all of this release's.
    """
    at = current(session)
    revisions = [script.revision for script in _scripts().walk_revisions()]
    revisions.reverse()
    if at is None:
        return revisions
    return revisions[revisions.index(at) + 1 :] if at in revisions else []


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


@contextmanager
def _exclusive_connection(url: str) -> Iterator[Config]:
    # No timeout: changing a large table takes long.
    sessions = sessions_for(url, pool_size=1, server_timeout=None)
    try:
        with _alembic_lock, sessions.begin() as session:
            if is_postgresql(session):
                _acquire_migration_lock(session.connection())
            config = _config()
            config.attributes["connection"] = session.connection()
            yield config
    except CommandError as error:
        raise UnknownRevision(str(error)) from error
    finally:
        sessions.dispose()


def _acquire_migration_lock(connection: Connection) -> None:
    """Waits for other migrations, longer than for any other lock.

    Locks on tables keep the short timeout, since all later queries wait behind such a request.
    """
    usual = connection.scalar(text("SHOW lock_timeout"))
    connection.execute(text(f"SET LOCAL lock_timeout = '{_MIGRATION_LOCK_TIMEOUT}'"))
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{usual}'"))
