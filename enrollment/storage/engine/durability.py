"""What keeps a promise of the database: the one place that knows the settings of its server.

A process looks at each new connection, and now and then at an old one. One on which a commit
can be lost is not used: then nobody hears 202, and all is well again once the server is.
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

from enrollment.domain.errors import NotDurable, RecordsUnavailable
from enrollment.storage.engine.sessions import Sessions, sessions_for
from enrollment.storage.tables import Base, SecretRow

log = structlog.get_logger()

ADVICE = "mend it, or set ENROLL_ACCEPT_DATA_LOSS=true where nothing must be kept"
#: Seconds after which a connection is looked at again.
CHECK_INTERVAL = 30.0
PROBE_BYTES = 64 * 1024
SQLITE_FULL = 2
#: Releases of SQLite from which WAL mode loses nothing, with the first that is not of their line.
_WAL_IS_SOUND = (((3, 44, 6), (3, 45)), ((3, 50, 7), (3, 51)), ((3, 51, 3), (4,)))
_JOURNALS = frozenset({"truncate", "delete", "persist"})
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_NETWORK = ("nfs", "cifs", "smb", "9p", "fuse.", "ceph", "lustre", "afs", "gpfs")
_MOUNTS = Path("/proc/self/mountinfo")
_CHECKED_AT = "looked_at"

#: Asks a database in its own words for one row.
ScalarQuery = Callable[..., Any]

_SERVER_SETTINGS = """
SELECT current_setting('fsync'), current_setting('full_page_writes'),
       current_setting('synchronous_commit'), current_setting('data_sync_retry', true),
       pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
       (SELECT string_agg(relname, ', ') FROM pg_class WHERE relpersistence = 'u'
        AND relname = ANY(%s) AND relnamespace = to_regnamespace(current_schema()))
"""


class DurabilityFact(NamedTuple):
    """One thing about a database that the promise depends on.

    What is wrong and loses nothing keeps the database from writing at all.
    """

    level: Literal["ok", "note", "wrong"]
    message: str
    advice: str = ""
    #: Whether what was answered 202 can be lost by it.
    loses_commits: bool = False


def load_durability_facts(session: Session) -> list[DurabilityFact]:
    """How the session's database stands to the promise."""
    connection = session.connection()

    def ask(statement: str, *values: object) -> Any:
        return connection.exec_driver_sql(statement, values).fetchone()

    return list(_facts(ask, connection.dialect.name))


def data_loss_messages(found: list[DurabilityFact]) -> list[str]:
    """What can lose what was answered 202, each in a sentence."""
    return [f"{fact.message}: {fact.advice}" for fact in found if fact.loses_commits]


def cannot_write(found: list[DurabilityFact]) -> str:
    """Why the database takes no writes; empty where it does, for all that its settings say."""
    unable = [fact for fact in found if fact.level == "wrong" and not fact.loses_commits]
    return f"{unable[0].message}: {unable[0].advice}" if unable else ""


def probe_write(session: Session) -> None:
    """Write about as much as a request does, and take it back: nothing is left of it.

    Random, because what can be packed takes no room.
    """
    name = f"tried-{uuid4().hex}"
    session.execute(insert(SecretRow).values(name=name, value=os.urandom(PROBE_BYTES)))
    session.execute(delete(SecretRow).where(SecretRow.name == name))


def durable_sessions(url: str, *, pool_size: int, accepts_loss: bool) -> Sessions:
    """Sessions that raise NotDurable instead of using a connection that can lose a commit."""
    sessions = sessions_for(url, pool_size=pool_size)
    if not accepts_loss:
        check_on_connect(sessions.engine)
    return sessions


def check_on_connect(engine: Engine, *, monotonic: Callable[[], float] = time.monotonic) -> None:
    """From now on a connection that can lose a commit is closed instead of used."""

    def look(connection: Any, record: Any, _proxy: object) -> None:
        now = monotonic()
        if now - record.info.get(_CHECKED_AT, now - CHECK_INTERVAL) < CHECK_INTERVAL:
            return
        lost = data_loss_messages(list(_facts(scalar_query_of(connection), engine.dialect.name)))
        connection.rollback()
        if lost:
            raise NotDurable("; ".join(lost))
        record.info[_CHECKED_AT] = now

    event.listen(engine, "checkout", look)


def scalar_query_of(connection: Any) -> ScalarQuery:
    """Asks over a driver's own connection."""
    return lambda statement, *values: connection.execute(statement, values).fetchone()


def check_at_start(sessions: Sessions) -> None:
    """Say what a process that starts finds; a database that is away is looked at later.

    Raises NotDurable where the process must not run on it.
    """
    try:
        with sessions.read() as session:
            found = load_durability_facts(session)
    except NotDurable as refusal:
        log.critical("records.not_durable", because=str(refusal), advice=ADVICE)
        raise
    except RecordsUnavailable as error:
        log.warning("records.unreachable", because=str(error))
        return
    for loss in data_loss_messages(found):
        log.error("records.not_durable", because=loss, accepted="ENROLL_ACCEPT_DATA_LOSS is set")
    for fact in found:
        if fact.level != "ok" and not fact.loses_commits:
            log.warning("records.doubtful", because=f"{fact.message}: {fact.advice}")


def _facts(ask: ScalarQuery, dialect: str) -> Iterator[DurabilityFact]:
    return _sqlite_facts(ask) if dialect == "sqlite" else _postgresql_facts(ask)


def _postgresql_facts(ask: ScalarQuery) -> Iterator[DurabilityFact]:
    row = ask(_SERVER_SETTINGS, list(Base.metadata.tables))
    fsync, full_pages, commit, retry, is_read_only, unlogged = row
    yield _setting("fsync", fsync, is_sound=fsync == "on")
    yield _setting("full_page_writes", full_pages, is_sound=full_pages == "on")
    yield _setting("synchronous_commit", commit, is_sound=commit != "off")
    if retry == "on":
        advice = "set data_sync_retry=off: after a failed write it may answer what is not on disk"
        yield DurabilityFact("wrong", "data_sync_retry is on", advice, loses_commits=True)
    if unlogged:
        advice = "ALTER TABLE … SET LOGGED: a crash of the server empties it"
        yield DurabilityFact(
            "wrong", f"not in the server's log: {unlogged}", advice, loses_commits=True
        )
    if is_read_only:
        advice = "it is a standby, or default_transaction_read_only is on: name the primary"
        yield DurabilityFact("wrong", "the database only reads", advice)


def _setting(name: str, value: str, *, is_sound: bool) -> DurabilityFact:
    if is_sound:
        return DurabilityFact("ok", f"{name} is {value}")
    advice = f"set {name}=on: what was answered 202 can be lost in a power cut"
    return DurabilityFact("wrong", f"{name} is {value}", advice, loses_commits=True)


def _sqlite_facts(ask: ScalarQuery) -> Iterator[DurabilityFact]:
    ask("SELECT 1 FROM sqlite_master LIMIT 1")  # else a mode that was changed is not seen
    (level,) = ask("PRAGMA synchronous")
    (version,) = ask("SELECT sqlite_version()")
    (mode,) = ask("PRAGMA journal_mode")
    _, _, file = ask("PRAGMA database_list")
    says = f"SQLite {version}, synchronous={level}, journal_mode={mode}"
    if level < SQLITE_FULL:
        yield DurabilityFact(
            "wrong", says, "synchronous must be FULL: a power cut loses commits", loses_commits=True
        )
    elif not file:
        yield DurabilityFact(
            "wrong", says, "it ends with its process: name a file", loses_commits=True
        )
    elif mode == "wal" and not wal_is_sound(version):
        advice = (
            "this release can lose commits in WAL mode. Let nobody else have the file open, and"
            " the mode is changed at once; or use SQLite 3.51.3, 3.50.7 or 3.44.6"
        )
        yield DurabilityFact("wrong", says, advice, loses_commits=True)
    elif mode not in _JOURNALS | {"wal"}:
        yield DurabilityFact(
            "wrong", says, "a crash in a commit can destroy the file", loses_commits=True
        )
    else:
        yield DurabilityFact("ok", says)
    if file:
        yield from _file_system_facts(filesystem_of(Path(file)))


def wal_is_sound(version: str) -> bool:
    """Whether a release of SQLite is without the fault that resets a log too early."""
    numbers = tuple(int(part) for part in version.split("."))
    return any(first <= numbers < end for first, end in _WAL_IS_SOUND)


def _file_system_facts(filesystem: str | None) -> Iterator[DurabilityFact]:
    says = f"the file is on {filesystem}"
    if filesystem in _IN_MEMORY:
        yield DurabilityFact(
            "wrong", says, "it is memory: a restart of the machine empties it", loses_commits=True
        )
    elif filesystem is not None and filesystem.startswith(_NETWORK):
        advice = "locks and flushes are not to be relied on over a network: use a disk of its own"
        yield DurabilityFact("note", says, advice)


def filesystem_of(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """The sort of file system that a file is on; None where the machine does not say."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    best, sort = -1, None
    for line in lines:
        before, _, after = line.partition(" - ")
        place = Path(before.split()[4].replace("\\040", " "))
        depth = len(place.parts)
        if depth >= best and path.absolute().is_relative_to(place):
            best, sort = depth, after.split()[0]
    return sort
