"""A whole service of real processes under supervision, like that of `docker compose`.

Gateways, workers and the schedule run on one database and a real Redis. A process that dies is
restarted at once; a fault may override the environment of processes (fail points, addresses).
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

from sqlalchemy import func, select

from api_gateway.auth.api_keys import new_api_key
from enrollment.domain.errors import EnrollmentError
from enrollment.storage import migrate
from enrollment.storage.credentials import api_keys
from enrollment.storage.engine.sessions import Sessions, sessions_for
from enrollment.storage.tables import BatchRow, SubmissionRow
from tests.fault_lab.stack.supervised_process import Death, SupervisedProcess
from tests.support.servers import PostgresServer, RedisServer, free_port
from tests.support.service_processes import bare, is_ready
from tests.support.temporary_folders import working_folder

GATEWAYS, WORKERS, BEATS = 2, 2, 1
#: Seconds between two checks of the processes.
WATCH_SECONDS = 0.02
#: Maximum wait for any condition on a busy machine, in seconds.
PATIENCE = 60.0


class StackBroken(RuntimeError):
    """The service does not recover by itself."""


def wait(true: Callable[[], object], what: str, *, seconds: float = PATIENCE) -> float:
    """Waits until a condition holds; returns the seconds. Raises StackBroken after the limit."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            raise StackBroken(f"after {seconds:.0f} s still not: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


class Overrides(NamedTuple):
    """Overrides of the environment of processes.

    Variables by the prefix of a process name: ``worker`` means all workers, ``worker-1`` one.
    """

    variables: Mapping[str, Mapping[str, str]] = {}
    beats: int = BEATS

    def of(self, name: str) -> Mapping[str, str]:
        """Returns the variables of a process."""
        given: dict[str, str] = {}
        for beginning, variables in self.variables.items():
            if name.startswith(beginning):
                given |= variables
        return given


NO_OVERRIDES = Overrides()


class DatabaseServer(NamedTuple):
    """The database of a stack: kind, URL, folder and server."""

    sort: str
    url: str
    folder: Path
    postgres: PostgresServer | None = None


@contextmanager
def database_on(sort: str, *, folder: Path | None = None) -> Iterator[DatabaseServer]:
    """Starts a database with production durability: commits are flushed to disk."""
    with ExitStack() as stack:
        place = folder or stack.enter_context(working_folder(on_disk=True))
        if sort == "sqlite":
            yield DatabaseServer(sort, f"sqlite:///{place / 'enrollment.sqlite3'}", place)
            return
        server = PostgresServer(place, durable=True).initialise()
        stack.callback(server.kill)
        yield DatabaseServer(sort, server.start().url, place, server)


class Stack:
    """Gateways, workers and the schedule beside their servers."""

    def __init__(
        self,
        database: DatabaseServer,
        redis: RedisServer,
        folder: Path,
        *,
        gateways: int = GATEWAYS,
        workers: int = WORKERS,
        overrides: Overrides = NO_OVERRIDES,
    ) -> None:
        self.database = database
        self.redis = redis
        self.folder = folder
        self.runs = 0
        self._overrides = overrides
        self.key, self._digest = new_api_key()
        self.ports = [free_port() for _ in range(gateways)]
        self.gateways = [
            SupervisedProcess("gateway", number, ["gateway", "--port", port], folder)
            for number, port in enumerate(self.ports)
        ]
        self.workers = [
            SupervisedProcess("worker", number, ["worker"], folder) for number in range(workers)
        ]
        self.beats = [SupervisedProcess("beat", 0, ["beat"], folder)]
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._watchdog = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        """Starts all processes and waits until they are ready."""
        migrate.upgrade(self.database.url)
        self.sessions: Sessions = sessions_for(self.database.url, pool_size=3)
        with self.sessions.begin() as session:
            scopes = frozenset({"admin"})
            api_keys.add(
                session, name="faults", scopes=scopes, digest=self._digest, now=datetime.now(UTC)
            )
        self.apply_overrides(self._overrides)
        self._watchdog.start()
        try:
            self.until_ready()
        except StackBroken as broken:
            said = self.logs()[-4000:]
            self.__exit__()
            raise StackBroken(f"{broken}\n{said}") from broken
        return self

    def __exit__(self, *_: object) -> None:
        """Stops all processes."""
        self._over.set()
        if self._watchdog.is_alive():
            self._watchdog.join()
        for one in self.processes:
            one.destroy()
        self.sessions.dispose()

    @property
    def processes(self) -> list[SupervisedProcess]:
        """Returns all processes of the service."""
        return [*self.gateways, *self.workers, *self.beats]

    @property
    def urls(self) -> list[str]:
        """Returns the URLs of the gateways."""
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    def apply_overrides(self, overrides: Overrides) -> None:
        """Applies overrides; restarts the processes whose environment changes."""
        with self._lock:
            for number in range(len(self.beats), overrides.beats):
                self.beats.append(SupervisedProcess("beat", number, ["beat"], self.folder))
            for spare in self.beats[overrides.beats :]:
                spare.destroy()
                self.beats.remove(spare)
            for one in self.processes:
                wanted = bare(**{**self._environment(), **overrides.of(one.name)})
                if one.environment != wanted:
                    one.environment = wanted
                    one.kill()

    def _environment(self) -> dict[str, str]:
        return {
            "ENROLL_DATABASE_URL": self.database.url,
            "ENROLL_REDIS_URL": self.redis.url,
            "ENROLL_DATA_DIR": str(self.folder / "not there"),
            "ENROLL_LOG_LEVEL": "info",
        }

    def _watch(self) -> None:
        """Restarts dead processes. Its thread is the parent that the processes are bound to."""
        while not self._over.wait(WATCH_SECONDS):
            with self._lock:
                for one in self.processes:
                    one.supervise()

    def until_ready(self, *, seconds: float = PATIENCE) -> float:
        """Waits until every gateway is ready and every worker accepts work."""
        return wait(
            lambda: all(one.is_alive for one in self.processes) and self.is_ready(),
            "every process is ready",
            seconds=seconds,
        )

    def is_ready(self) -> bool:
        """Returns whether every gateway reports that it is ready."""
        return all(map(is_ready, self.urls))

    def pending(self) -> int:
        """Returns the number of accepted requests without an outcome."""
        accepted = (
            select(func.coalesce(func.sum(BatchRow.requests), 0))
            .join(SubmissionRow, SubmissionRow.id == BatchRow.submission_id, isouter=True)
            .where(BatchRow.answered_at.is_(None))
            .where(BatchRow.submission_id.is_(None) | SubmissionRow.published_at.is_not(None))
        )
        with self.sessions.read() as session:
            return int(session.scalars(accepted).one())

    def total(self) -> int:
        """Returns the number of stored requests."""
        with self.sessions.read() as session:
            return int(session.scalars(select(func.sum(BatchRow.requests))).one() or 0)

    def is_settled(self) -> bool:
        """Returns whether all accepted requests are processed; False if the database is
        unavailable.
        """
        try:
            return self.pending() == 0
        except EnrollmentError:
            return False

    def deaths(self) -> list[Death]:
        """Returns all deaths of processes that were restarted."""
        return [death for one in self.processes for death in one.deaths]

    def logs(self) -> str:
        """Returns the logs of all processes."""
        return "\n".join(f"--- {one.name}\n{one.log()}" for one in self.processes)
