"""The tables' versions: bringing a database to this release's, and asking where it stands.

Whoever changes them holds a lock, so two upgrades at once end as one; each runs in one
transaction, so a broken one leaves nothing behind.
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

#: Any number, the same in every release: who holds it changes the tables.
_ADVISORY_LOCK = 7_316_455_022_101
_WAIT_FOR_OTHERS = "60s"
_FOLDER = Path(__file__).with_name("migrations")
#: Alembic keeps what it is doing in module globals.
_one_at_a_time = threading.Lock()


class UnknownRevision(EnrollmentError):
    """The database names a version of its tables that this release does not know."""


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the tables up to a version.

    Raises UnknownRevision where a later release was here, RecordsUnavailable.
    """
    with _exclusive_connection(url) as config:
        command.upgrade(config, revision)


def downgrade(url: str, revision: str) -> None:
    """Take the tables back to a version (``base`` is none at all), with what they hold.

    Raises UnknownRevision, RecordsUnavailable.
    """
    with _exclusive_connection(url) as config:
        command.downgrade(config, revision)


def draft(url: str, message: str) -> list[str]:
    """Write a new version's file from what the tables' classes say and the database lacks."""
    with _exclusive_connection(url) as config:
        number = f"{int(head()) + 1:04d}"
        made = command.revision(config, message=message, autogenerate=True, rev_id=number)
    drafts = made if isinstance(made, list) else [made]
    return [one.path for one in drafts if one is not None]


def pending(url: str) -> list[str]:
    """The versions that the database still lacks, oldest first."""
    sessions = sessions_for(url, pool_size=1)
    try:
        with sessions.read() as session:
            lacking = _pending_revisions(session)
    finally:
        sessions.dispose()
    return lacking


def current(session: Session) -> str | None:
    """The version that the tables are at; None before the first."""
    return MigrationContext.configure(session.connection()).get_current_revision()


def is_current(session: Session) -> bool:
    """Whether the tables are as this release needs them, or newer."""
    return current(session) == head() or not _pending_revisions(session)


@cache
def head() -> str:
    """The version that this release works with."""
    return str(_scripts().get_current_head())


def _pending_revisions(session: Session) -> list[str]:
    """A version unknown here is a later release's, which lacks nothing of ours."""
    at = current(session)
    versions = [script.revision for script in _scripts().walk_revisions()]
    versions.reverse()
    if at is None:
        return versions
    return versions[versions.index(at) + 1 :] if at in versions else []


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


@contextmanager
def _exclusive_connection(url: str) -> Iterator[Config]:
    sessions = sessions_for(
        url, pool_size=1, server_timeout=None
    )  # changing a large table takes long
    try:
        with _one_at_a_time, sessions.begin() as session:
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
    """Only the wait for other upgrades is long: a wait for a table holds up everybody."""
    usual = connection.scalar(text("SHOW lock_timeout"))
    connection.execute(text(f"SET LOCAL lock_timeout = '{_WAIT_FOR_OTHERS}'"))
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{usual}'"))
