"""Database migrations: upgrades, downgrades and the current revision.

A migration holds an advisory lock, so of two concurrent upgrades the second has nothing to do. It
runs in one transaction, so a failed one changes nothing.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from enrollment.domain.errors import DatabaseUnavailable, EnrollmentError
from enrollment.storage.credentials import roles
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.sessions import Sessions, sessions_for

log = structlog.get_logger()

#: Key of the advisory lock of migrations; the same in every release.
_ADVISORY_LOCK = 7_316_455_022_101
_MIGRATION_LOCK_TIMEOUT = "60s"
_FOLDER = Path(__file__).with_name("migrations")
#: Alembic keeps its state in module globals, so one process runs one command at a time.
_alembic_lock = threading.Lock()


class UnknownRevision(EnrollmentError):
    """This release does not know a revision."""


class LaterRelease(UnknownRevision):
    """The tables belong to a later release; a process of this one must not use them."""


def upgrade(url: str, revision: str = "head") -> None:
    """Upgrades the database to a revision, and grants the roles of PostgreSQL what they need.

    Raises LaterRelease, UnknownRevision, DatabaseUnavailable.
    """
    with _exclusive_connection(url) as (config, session):
        refuse_later_release(session)
        command.upgrade(config, revision)
        if is_postgresql(session):
            roles.grant(session)


def downgrade(url: str, revision: str) -> None:
    """Downgrades the database to a revision; `base` drops all tables, including their data.

    Raises LaterRelease, UnknownRevision, DatabaseUnavailable.
    """
    with _exclusive_connection(url) as (config, session):
        refuse_later_release(session)
        command.downgrade(config, revision)


def draft(url: str, message: str) -> list[str]:
    """Writes a migration from the difference of `tables` and the database; returns its paths."""
    with _exclusive_connection(url) as (config, _):
        number = f"{int(head()) + 1:04d}"
        created = command.revision(config, message=message, autogenerate=True, rev_id=number)
    scripts = created if isinstance(created, list) else [created]
    return [script.path for script in scripts if script is not None]


def pending(url: str) -> list[str]:
    """Returns the revisions that the database still lacks, oldest first.

    Raises LaterRelease, DatabaseUnavailable.
    """
    sessions = sessions_for(url, pool_size=1)
    try:
        with sessions.read() as session:
            refuse_later_release(session)
            revisions = _revisions()
            at = current(session)
            return revisions if at is None else revisions[revisions.index(at) + 1 :]
    finally:
        sessions.dispose()


def current(session: Session) -> str | None:
    """Returns the revision of the database; None before the first."""
    return MigrationContext.configure(session.connection()).get_current_revision()


def refuse_later_release(session: Session) -> None:
    """Raises LaterRelease if the tables are at a revision that this release does not know."""
    at = current(session)
    if at in {None, head()} or at in _revisions():
        return
    message = (
        f"The database belongs to a later release: its tables are at {at}, and this release knows "
        f"them up to {head()}. Run that release, or go back with it: `enroll db downgrade {head()}`"
    )
    raise LaterRelease(message)


def check_at_start(sessions: Sessions) -> None:
    """Checks the tables when a process starts; logs missing migrations, which may come yet.

    A database that is unreachable is not checked. Raises LaterRelease.
    """
    try:
        with sessions.read() as session:
            refuse_later_release(session)
            found = defect(session)
    except LaterRelease as refusal:
        log.critical("records.later_release", because=str(refusal))
        raise
    except DatabaseUnavailable:
        return
    if found:
        log.error("records.not_migrated", because=found)


def defect(session: Session) -> str:
    """Returns why the tables are not those of this release, and what to do; empty if they are."""
    at = current(session)
    if at == head():
        return ""
    try:
        refuse_later_release(session)
    except LaterRelease as error:
        return str(error)
    return (
        f"The database lacks migrations: its tables are at {at or 'none'}, but this release needs "
        f"{head()}. Run `enroll db upgrade`"
    )


@cache
def head() -> str:
    """Returns the revision that this release needs."""
    return str(_scripts().get_current_head())


@cache
def _revisions() -> list[str]:
    """Returns the revisions that this release knows, oldest first."""
    return [script.revision for script in _scripts().walk_revisions()][::-1]


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


@contextmanager
def _exclusive_connection(url: str) -> Iterator[tuple[Config, Session]]:
    # No timeout: changing a large table takes long.
    sessions = sessions_for(url, pool_size=1, server_timeout=None)
    try:
        with _alembic_lock, sessions.begin() as session:
            if is_postgresql(session):
                _acquire_migration_lock(session.connection())
            config = _config()
            config.attributes["connection"] = session.connection()
            yield config, session
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
