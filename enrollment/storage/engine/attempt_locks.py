"""Attempt locks: held while a worker attempts a batch whose attempt is recorded.

Unlike a row lock an attempt lock outlives the transaction that records the attempt; it is released
when its worker dies. So if an attempt is recorded and its lock is free, its worker died.
"""

import fcntl
import os
import threading
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

#: Keys of PostgreSQL's advisory locks: this number plus the id of the batch.
_NAMESPACE = 0x4154 << 48
#: The idle timeout is longer than any attempt; it frees the locks of a worker whose host vanished.
_TRY_LOCK = text(
    "SELECT id, set_config('idle_in_transaction_session_timeout', '60s', true)"
    " FROM unnest(CAST(:ids AS bigint[])) AS id"
    " WHERE pg_try_advisory_xact_lock(CAST(:namespace AS bigint) + id)"
)


class HeldLocks(Protocol):
    """The attempt locks of one worker; all are released at the end of `AttemptLocks.scope`."""

    def acquire(self, batch_ids: Collection[int]) -> set[int]:
        """Acquires those locks that are free, without waiting; returns their batch ids."""


class AttemptLocks(Protocol):
    """Source of attempt locks."""

    def scope(self) -> AbstractContextManager[HeldLocks]:
        """Yields locks that are released at the end of the block."""


class PostgresAttemptLocks:
    """Advisory locks in a transaction of their own, which is open as long as they are held.

    So they also work behind a connection pooler. The transaction has no snapshot while it is idle,
    so it does not hold back vacuum.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def scope(self) -> Iterator[HeldLocks]:
        """Yields locks that are released at the end of the block."""
        held = _AdvisoryLocks(self._engine)
        try:
            yield held
        finally:
            held.close()


class _AdvisoryLocks:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def acquire(self, batch_ids: Collection[int]) -> set[int]:
        if self._connection is None:
            self._connection = self._engine.connect()
        parameters = {"ids": list(batch_ids), "namespace": _NAMESPACE}
        return set(self._connection.scalars(_TRY_LOCK, parameters))

    def close(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.rollback()
        except SQLAlchemyError:  # the session has ended, which released its locks
            self._connection.invalidate()
        finally:
            self._connection.close()


class FileAttemptLocks:
    """One lock file per batch, beside SQLite's database; the kernel releases a dead worker's."""

    def __init__(self, database: Path) -> None:
        self._database = database

    @contextmanager
    def scope(self) -> Iterator[HeldLocks]:
        """Yields locks that are released at the end of the block."""
        held = _FileLocks(self._database)
        try:
            yield held
        finally:
            held.close()


class _FileLocks:
    def __init__(self, database: Path) -> None:
        self._database = database
        self._files: dict[int, int] = {}

    def acquire(self, batch_ids: Collection[int]) -> set[int]:
        for batch_id in batch_ids:
            file = _lock_file(self._path(batch_id))
            if file is not None:
                self._files[batch_id] = file
        return self._files.keys() & set(batch_ids)

    def close(self) -> None:
        for batch_id, file in self._files.items():
            with suppress(OSError):  # a file that is left behind is used by the next attempt
                self._path(batch_id).unlink(missing_ok=True)
            os.close(file)

    def _path(self, batch_id: int) -> Path:
        return self._database.with_name(f"{self._database.name}.attempt-{batch_id}")


def _lock_file(path: Path) -> int | None:
    """Locks a file; returns its descriptor, or None if another process holds the lock."""
    while True:
        file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            if not isinstance(error, BlockingIOError):
                raise
            return None
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(file).st_ino:
                return file
        os.close(file)  # the last holder deleted the file meanwhile: the lock is ineffective


class MemoryAttemptLocks:
    """Attempt locks for an in-memory database, which only this process uses."""

    def __init__(self) -> None:
        self._locked_ids: set[int] = set()
        self._mutex = threading.Lock()

    @contextmanager
    def scope(self) -> Iterator[HeldLocks]:
        """Yields locks that are released at the end of the block."""
        held = _MemoryLocks(self._locked_ids, self._mutex)
        try:
            yield held
        finally:
            held.close()


class _MemoryLocks:
    def __init__(self, locked_ids: set[int], mutex: threading.Lock) -> None:
        self._locked_ids, self._mutex = locked_ids, mutex
        self._own_ids: set[int] = set()

    def acquire(self, batch_ids: Collection[int]) -> set[int]:
        with self._mutex:
            free = set(batch_ids) - self._locked_ids
            self._locked_ids |= free
        self._own_ids |= free
        return free

    def close(self) -> None:
        with self._mutex:
            self._locked_ids -= self._own_ids


def attempt_locks_for(engine: Engine) -> AttemptLocks:
    """Returns the attempt locks for an engine's database."""
    if engine.dialect.name != "sqlite":
        return PostgresAttemptLocks(engine)
    database = engine.url.database
    if database in {None, "", ":memory:"}:
        return MemoryAttemptLocks()
    return FileAttemptLocks(Path(str(database)))
