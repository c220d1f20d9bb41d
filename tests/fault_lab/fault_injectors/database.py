"""Database faults: restart, locks, exhausted sessions, deadlocks, full disk, failing fsync."""

import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psycopg

from tests.fault_lab.checker.check import Trace
from tests.fault_lab.fault_injectors.base import POSTGRESQL, SQLITE, Fault
from tests.fault_lab.stack.stack import Overrides
from tests.support.servers import PostgresServer

#: Size of the disk that becomes full.
DISK_BYTES = {SQLITE: 64 * 2**20, POSTGRESQL: 320 * 2**20}
#: Libraries that fiu-run preloads.
FIU = [Path("/usr/lib/fiu") / name for name in ("fiu_run_preload.so", "fiu_posix_preload.so")]


class _OnPostgres(Fault):
    where = (POSTGRESQL,)

    @property
    def server(self) -> PostgresServer:
        """Returns the PostgreSQL server of the stack."""
        assert self.stack.database.postgres is not None
        return self.stack.database.postgres

    def session(self, **options: Any) -> "psycopg.Connection[Any]":
        """Opens a session outside the service."""
        url = self.server.url.replace("+psycopg", "")
        return psycopg.connect(url, autocommit=True, connect_timeout=3, **options)


class PostgresRestarted(_OnPostgres):
    code = "F16"
    title = "PostgreSQL restarted at once and fast, its sessions terminated at random"
    short = (POSTGRESQL,)
    pause = (0.3, 1.0)
    traces = (Trace.UNKNOWN_ANSWERS,)

    def inject(self) -> None:
        self.choose([self._terminate, self._terminate, self._immediate, self._fast])()

    def _terminate(self) -> None:
        ended = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE application_name = 'enroll' AND random() < 0.5"
        )
        with self.session() as session:
            row = session.execute(ended).fetchone()
        if row and row[0]:
            self.context.witness(sessions_terminated=row[0])

    def _immediate(self) -> None:
        self._restart(signal.SIGQUIT)

    def _fast(self) -> None:
        self._restart(signal.SIGINT)

    def _restart(self, number: signal.Signals) -> None:
        before = self.server.pid
        os.kill(before, number)
        self.server.stop()
        self.server.start()
        self.context.witness(restarted=before, by=number.name, now=self.server.pid)


class PostgresBusy(_OnPostgres):
    code = "F17"
    title = "course rows locked beyond the time-outs, sessions exhausted, a table locked (S1, S6)"
    pause = (0.3, 0.8)
    seconds = 10.0
    turn = 0

    def inject(self) -> None:
        sorts = [self._rows_locked, self._sessions_exhausted, self._table_locked]
        if self.turn == 0:
            self.turn = self.random.randrange(len(sorts))
        self.turn += 1
        sorts[self.turn % len(sorts)]()

    def _rows_locked(self) -> None:
        """Locks rows in the order of the workers, longer than `lock_timeout`."""
        self._locked(
            "SELECT 1 FROM course ORDER BY capacity IS NULL, id FOR UPDATE",
            self.random.uniform(4, 7),
        )

    def _table_locked(self) -> None:
        self._locked("LOCK TABLE batch IN ACCESS EXCLUSIVE MODE", self.random.uniform(1, 4))

    def _locked(self, statement: str, seconds: float) -> None:
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with self.session() as session, self.session() as beside, session.transaction():
            session.execute("SET LOCAL lock_timeout = '5s'")
            session.execute(statement)
            time.sleep(seconds)
            row = beside.execute(waits).fetchone()
        if row and row[0]:
            self.context.witness(locked=statement, seconds=round(seconds, 1), waiting=row[0])

    def _sessions_exhausted(self) -> None:
        """Takes all sessions and terminates those of the service."""
        with ExitStack() as taken:
            mine = taken.enter_context(self.session())
            self._take_all(taken)
            mine.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'enroll'"
            )
            said = self._take_all(taken)
            time.sleep(self.random.uniform(0.5, 2))
        self.context.witness(sessions="exhausted", postgresql_says=said)

    def _take_all(self, taken: ExitStack) -> str:
        """Takes sessions until there are no more; returns the last error."""
        while True:
            try:
                taken.enter_context(self.session())
            except psycopg.OperationalError as error:
                return str(error).strip()[-80:]


class Deadlocks(_OnPostgres):
    code = "F18"
    title = "a storm of sessions that lock rows in the opposite order (S6)"
    pause = (0.1, 0.3)
    #: Concurrent sessions.
    writers = 6

    def inject(self) -> None:
        with self.session() as session:
            before = self._deadlocks(session)
            threads = [threading.Thread(target=self._lock_backwards) for _ in range(self.writers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if (more := self._deadlocks(session) - before) > 0:
                self.context.witness(deadlocks=more)

    def _deadlocks(self, session: Any) -> int:
        session.execute("SELECT pg_stat_clear_snapshot()")
        row = session.execute("SELECT sum(deadlocks) FROM pg_stat_database").fetchone()
        return int(row[0])

    def _lock_backwards(self) -> None:
        """Locks enrollments, then courses: the reverse of the order in the service.

        A late deadlock check makes the service's session the victim.
        """
        options = {"options": "-c deadlock_timeout=4s -c lock_timeout=3s"}
        of_this_run = f"c.capacity IS NOT NULL AND c.course_id LIKE '%:{self.context.run}+%'"
        enrollments = (
            "SELECT 1 FROM enrollment WHERE (learner_id, course_id) IN "
            "(SELECT e.learner_id, e.course_id FROM enrollment e JOIN course c "
            f"ON c.id = e.course_id WHERE {of_this_run} ORDER BY random() LIMIT 10) FOR UPDATE"
        )
        courses = f"SELECT 1 FROM course c WHERE {of_this_run} FOR UPDATE"
        refused = (psycopg.OperationalError,)  # this session can still be the victim
        with suppress(*refused), self.session(**options) as session, session.transaction():
            session.execute(enrollments)
            time.sleep(0.1)
            session.execute(courses)

    def verify(self) -> None:
        self.witness_logged("deadlock detected")


class DiskFull(Fault):
    code = "F19"
    title = "the disk of the records full (S1, S6)"
    short = (SQLITE,)
    pause = (0.5, 1.0)
    alone = True
    traces = (Trace.UNKNOWN_ANSWERS,)
    minimum = 20

    @classmethod
    def missing(cls) -> str:
        return "" if os.geteuid() == 0 else "mounting a small disk needs root"

    @classmethod
    def place(cls, folder: Path, sort: str, exits: ExitStack) -> None:
        """Mounts a small disk at the folder of the database."""
        size = f"size={DISK_BYTES[sort]}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)
        exits.callback(subprocess.run, ["umount", "-l", folder], check=False)

    @property
    def ballast(self) -> Path:
        """Returns the file that fills the disk."""
        return self.stack.database.folder / "ballast"

    def inject(self) -> None:
        with self.ballast.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        free = shutil.disk_usage(self.stack.database.folder).free
        time.sleep(self.random.uniform(0.7, 2))
        self.ballast.unlink()
        if free < 4096:
            self.context.witness(disk="full", bytes_free=free)
        self._revive()

    def _revive(self) -> None:
        """Restarts PostgreSQL if it stopped because it could not write its log."""
        server = self.stack.database.postgres
        if server is not None and not server.answers():
            with suppress(AssertionError):
                self.context.note("PostgreSQL had ended", pid=server.pid)
            server.kill()
            server.start()

    def heal(self) -> None:
        self.ballast.unlink(missing_ok=True)
        self._revive()

    def verify(self) -> None:
        self.witness_logged("disk is full")
        server = self.stack.database.postgres
        if server is not None:
            said = (server.folder / "log").read_text(errors="replace")
            if times := said.count("No space left on device"):
                self.context.witness(postgresql="No space left on device", times=times)


class SyncFails(Fault):
    code = "F20"
    title = "5 % of all syncs to the disk fail (S1, S6)"
    where = (SQLITE,)
    pause = (0.5, 1.0)

    @classmethod
    def missing(cls) -> str:
        return "" if all(path.exists() for path in FIU) else "not here: no libfiu"

    def overrides(self) -> Overrides:
        fails = "enable_random name=posix/io/sync/{},probability=0.05"
        given = {
            "LD_PRELOAD": ":".join(map(str, FIU)),
            "FIU_ENABLE": "\n".join(fails.format(name) for name in ("fsync", "fdatasync")),
        }
        return Overrides({"gateway": given, "worker": given})

    def inject(self) -> None:
        """Collects evidence from the logs; the preloaded library injects the fault."""
        self.witness_logged("disk I/O error")

    def verify(self) -> None:
        self.inject()
