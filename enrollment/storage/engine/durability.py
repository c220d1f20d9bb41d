"""Durability checks: whether the database's settings can lose a committed transaction.

A process checks each new connection, and an old one every `CHECK_INTERVAL` seconds. A connection on
which a commit can be lost is not used, so no response is 202 until the server is fixed.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import structlog
from sqlalchemy import Engine, delete, event, insert
from sqlalchemy.orm import Session

from enrollment.domain.errors import DatabaseUnavailable, NotDurable
from enrollment.storage.engine import pooler
from enrollment.storage.engine.engines import TRANSACTION_TIMEOUT_MS
from enrollment.storage.engine.sessions import Sessions, sessions_for
from enrollment.storage.tables import Base, SecretRow

log = structlog.get_logger()

ADVICE = "fix it, or set ENROLL_ACCEPT_DATA_LOSS=true if data may be lost"
#: Seconds after which a connection is checked again.
CHECK_INTERVAL = 30.0
PROBE_BYTES = 64 * 1024
SQLITE_FULL = 2
#: Releases of SQLite in which WAL mode loses nothing: from the first version, before the second.
_WAL_IS_SOUND = (((3, 44, 6), (3, 45)), ((3, 50, 7), (3, 51)), ((3, 51, 3), (4,)))
_JOURNALS = frozenset({"truncate", "delete", "persist"})
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_NETWORK = ("nfs", "cifs", "smb", "9p", "fuse.", "ceph", "lustre", "afs", "gpfs")
_MOUNTS = Path("/proc/self/mountinfo")
_CHECKED_AT = "checked_at"

#: Executes SQL text with parameters; returns one row.
ScalarQuery = Callable[..., Any]

_SERVER_SETTINGS = """
SELECT current_setting('fsync'), current_setting('full_page_writes'),
       current_setting('synchronous_commit'), current_setting('data_sync_retry', true),
       pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
       (SELECT string_agg(relname, ', ') FROM pg_class WHERE relpersistence = 'u'
        AND relname = ANY(%s) AND relnamespace = to_regnamespace(current_schema())),
       current_setting('statement_timeout'), pg_backend_pid()
"""


class DurabilityFact(NamedTuple):
    """One property of a database on which durability depends.

    Level "wrong" means that commits can be lost (`loses_commits`), or else that the database takes
    no writes.
    """

    level: Literal["ok", "note", "wrong"]
    message: str
    advice: str = ""
    #: Whether a committed transaction can be lost.
    loses_commits: bool = False


def load_durability_facts(
    session: Session, *, inspects_pooler: bool = False
) -> list[DurabilityFact]:
    """Returns the durability facts of the session's database.

    `inspects_pooler`: also those of a connection pooler, which takes another connection; only in a
    session that has not written.
    """
    connection = session.connection()

    def query(statement: str, *values: object) -> Any:
        return connection.exec_driver_sql(statement, values).fetchone()

    driver = connection.connection.driver_connection if inspects_pooler else None
    return list(_facts(query, connection.dialect.name, driver))


def data_loss_messages(found: list[DurabilityFact]) -> list[str]:
    """Returns a sentence for each fact by which commits can be lost."""
    return [f"{fact.message}: {fact.advice}" for fact in found if fact.loses_commits]


def cannot_write(found: list[DurabilityFact]) -> str:
    """Returns why the database's settings allow no writes; empty if they allow them."""
    unable = [fact for fact in found if fact.level == "wrong" and not fact.loses_commits]
    return f"{unable[0].message}: {unable[0].advice}" if unable else ""


def probe_write(session: Session) -> None:
    """Inserts and deletes a row of `PROBE_BYTES`, about the size of a request.

    The value is random, because a value that can be compressed needs no space.
    """
    name = f"tried-{uuid4().hex}"
    session.execute(insert(SecretRow).values(name=name, value=os.urandom(PROBE_BYTES)))
    session.execute(delete(SecretRow).where(SecretRow.name == name))


def durable_sessions(url: str, *, pool_size: int, accepts_loss: bool) -> Sessions:
    """Returns sessions that raise NotDurable if a commit can be lost, unless `accepts_loss`."""
    sessions = sessions_for(url, pool_size=pool_size, transaction_timeout_ms=TRANSACTION_TIMEOUT_MS)
    if not accepts_loss:
        check_on_connect(sessions.engine)
    return sessions


def check_on_connect(engine: Engine, *, monotonic: Callable[[], float] = time.monotonic) -> None:
    """Makes an engine check its connections at checkout; one that can lose a commit is closed.

    The checkout raises NotDurable then.
    """

    def check(connection: Any, record: Any, _proxy: object) -> None:
        now = monotonic()
        if now - record.info.get(_CHECKED_AT, now - CHECK_INTERVAL) < CHECK_INTERVAL:
            return
        driver = None if _CHECKED_AT in record.info else connection
        messages = data_loss_messages(
            list(_facts(scalar_query_of(connection), engine.dialect.name, driver))
        )
        connection.rollback()
        if messages:
            raise NotDurable("; ".join(messages))
        record.info[_CHECKED_AT] = now

    event.listen(engine, "checkout", check)


def scalar_query_of(connection: Any) -> ScalarQuery:
    """Returns a query function for a driver's connection."""
    return lambda statement, *values: connection.execute(statement, values).fetchone()


def check_at_start(sessions: Sessions) -> None:
    """Checks the database when a process starts, and logs the findings.

    A database that is unreachable is checked when it is first used. Raises NotDurable if commits
    can be lost and `ENROLL_ACCEPT_DATA_LOSS` is not set.
    """
    try:
        with sessions.read() as session:
            found = load_durability_facts(session, inspects_pooler=True)
    except NotDurable as refusal:
        log.critical("records.not_durable", because=str(refusal), advice=ADVICE)
        raise
    except DatabaseUnavailable as error:
        log.warning("records.unreachable", because=str(error))
        return
    for loss in data_loss_messages(found):
        log.error("records.not_durable", because=loss, accepted="ENROLL_ACCEPT_DATA_LOSS is set")
    for fact in found:
        if fact.level != "ok" and not fact.loses_commits:
            log.warning("records.doubtful", because=f"{fact.message}: {fact.advice}")


def _facts(query: ScalarQuery, dialect: str, driver: Any) -> Iterator[DurabilityFact]:
    """Yields the facts of a database; of its pooler too, if the driver's connection is given."""
    return _sqlite_facts(query) if dialect == "sqlite" else _postgresql_facts(query, driver)


def _postgresql_facts(query: ScalarQuery, driver: Any) -> Iterator[DurabilityFact]:
    row = query(_SERVER_SETTINGS, list(Base.metadata.tables))
    fsync, full_pages, commit, retry, is_read_only, unlogged, limit, server_session = row
    yield _setting("fsync", fsync, is_sound=fsync == "on")
    yield _setting("full_page_writes", full_pages, is_sound=full_pages == "on")
    yield _setting("synchronous_commit", commit, is_sound=commit != "off")
    if retry == "on":
        advice = "set data_sync_retry=off: a failed flush may be reported as a success later"
        yield _loss("data_sync_retry is on", advice)
    if unlogged:
        advice = "ALTER TABLE … SET LOGGED: a crash of the server empties it"
        yield _loss(f"unlogged tables: {unlogged}", advice)
    if is_read_only:
        advice = "it is a standby, or default_transaction_read_only is on: name the primary"
        yield DurabilityFact("wrong", "the database is read-only", advice)
    if driver is not None and pooler.is_pooled(driver, server_session):
        yield from _pooler_facts(driver, statement_timeout=limit)


def _pooler_facts(driver: Any, *, statement_timeout: str) -> Iterator[DurabilityFact]:
    if pooler.mixes_statements(driver):
        advice = (
            "use PgBouncer 1.21 or newer with max_prepared_statements, or pool_mode=session, or "
            "connect to PostgreSQL itself"
        )
        yield _loss("a connection pooler mixes up the prepared statements of its clients", advice)
    if statement_timeout == "0":
        advice = "set them by ALTER ROLE … SET: docs/operations.md lists them"
        yield DurabilityFact("note", "the connection pooler drops our time limits", advice)


def _loss(description: str, advice: str) -> DurabilityFact:
    return DurabilityFact("wrong", description, advice, loses_commits=True)


def _setting(name: str, value: str, *, is_sound: bool) -> DurabilityFact:
    if is_sound:
        return DurabilityFact("ok", f"{name} is {value}")
    advice = f"set {name}=on: accepted requests can be lost in a power cut"
    return _loss(f"{name} is {value}", advice)


def _sqlite_facts(query: ScalarQuery) -> Iterator[DurabilityFact]:
    query("SELECT 1 FROM sqlite_master LIMIT 1")  # without it a changed mode is not noticed
    (level,) = query("PRAGMA synchronous")
    (version,) = query("SELECT sqlite_version()")
    (mode,) = query("PRAGMA journal_mode")
    _, _, file = query("PRAGMA database_list")
    description = f"SQLite {version}, synchronous={level}, journal_mode={mode}"
    if level < SQLITE_FULL:
        yield _loss(description, "synchronous must be FULL: a power cut loses commits")
    elif not file:
        yield _loss(description, "an in-memory database is lost with its process: name a file")
    elif mode == "wal" and not wal_is_sound(version):
        advice = (
            "this release can lose commits in WAL mode. Close the file in all other programs, and"
            " the mode is changed at once; or use SQLite 3.51.3, 3.50.7 or 3.44.6"
        )
        yield _loss(description, advice)
    elif mode not in _JOURNALS | {"wal"}:
        yield _loss(description, "a crash during a commit can corrupt the file")
    else:
        yield DurabilityFact("ok", description)
    if file:
        yield from _file_system_facts(filesystem_of(Path(file)))


def wal_is_sound(version: str) -> bool:
    """Whether a release of SQLite is without the bug that resets the write-ahead log too early."""
    numbers = tuple(int(part) for part in version.split("."))
    return any(first <= numbers < end for first, end in _WAL_IS_SOUND)


def _file_system_facts(filesystem: str | None) -> Iterator[DurabilityFact]:
    description = f"the file is on {filesystem}"
    if filesystem in _IN_MEMORY:
        yield _loss(description, "it is in memory: a restart of the machine loses it")
    elif filesystem is not None and filesystem.startswith(_NETWORK):
        advice = "locks and flushes are not reliable over a network: use a local disk"
        yield DurabilityFact("note", description, advice)


def filesystem_of(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """Returns the type of a file's file system; None if the system does not list its mounts."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    best_depth, filesystem = -1, None
    for line in lines:
        before, _, after = line.partition(" - ")
        mount_point = Path(before.split()[4].replace("\\040", " "))
        depth = len(mount_point.parts)
        if depth >= best_depth and path.absolute().is_relative_to(mount_point):
            best_depth, filesystem = depth, after.split()[0]
    return filesystem
