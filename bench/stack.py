"""Runs the measured processes, each on an empty database, and stops them at the end.

A started process is polled until it responds.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import redis

from api_gateway.auth.api_keys import digest_of, new_api_key
from enrollment.storage import migrate
from enrollment.storage.credentials import api_keys
from enrollment.storage.engine.sessions import sessions_for
from tests.support.servers import create_database, drop_database
from tests.support.temporary_folders import working_folder

ROOT = Path(__file__).parent.parent
BASE = "/api/enrollment/v1"
START_SECONDS = 60.0
POLL_SECONDS = 0.02
BACKLOG = 2048
#: Course of the measures that need only one.
COURSE = "course-v1:Bench+Open+2026"


#: Context manager of a server: its port and its process.
Serving = AbstractContextManager[tuple[int, subprocess.Popen[bytes]]]


class Size(NamedTuple):
    """The extent of the measures."""

    runs: int
    #: Duration of one load.
    seconds: float
    #: Rows of the long file.
    rows: int
    is_quick: bool
    #: Submissions that are listed, or purged.
    listed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """PostgreSQL and Redis, shared by all measures, with a template database to copy."""

    postgres: str
    redis: str
    template: str
    #: An API key with scope `admin`, which is stored in the template.
    key: str

    @contextmanager
    def database(self) -> Iterator[str]:
        """Creates a PostgreSQL database with the tables and the key; yields its URL."""
        url = create_database(self.postgres, template=self.template.rpartition("/")[2])
        try:
            yield url
        finally:
            drop_database(self.postgres, url)

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """Creates an empty PostgreSQL database; yields its URL."""
        url = create_database(self.postgres)
        try:
            yield url
        finally:
            drop_database(self.postgres, url)

    @contextmanager
    def sqlite(self) -> Iterator[str]:
        """Creates a SQLite database with the tables and the key, on disk; yields its URL."""
        with working_folder(on_disk=True) as folder:
            url = f"sqlite:///{folder / 'enrollment.sqlite3'}"
            _prepare(url, self.key)
            yield url


@contextmanager
def prepared_servers(postgres: str, redis_url: str) -> Iterator[Servers]:
    """Creates the template database, which is copied for each run."""
    key, _ = new_api_key()
    template = create_database(postgres)
    try:
        _prepare(template, key)
        yield Servers(postgres=postgres, redis=redis_url, template=template, key=key)
    finally:
        drop_database(postgres, template)


def _prepare(url: str, key: str) -> None:
    migrate.upgrade(url)
    sessions = sessions_for(url, pool_size=1)
    with sessions.begin() as session:
        api_keys.add(
            session,
            name="bench",
            scopes=frozenset({"admin"}),
            digest=digest_of(key),
            now=datetime.now(UTC),
        )
    sessions.dispose()


@contextmanager
def process(
    module: str, *words: object, environment: Mapping[str, str], log: Path, fds: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a module of this repository; it ends with the block, or with this process."""
    guard = ROOT / "tests" / "support" / "parent_death.py"
    guarded = [sys.executable, "-I", "-S", guard, os.getpid(), int(signal.SIGKILL), -1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ENROLL_")}
    with log.open("ab") as out:
        started = subprocess.Popen(
            [str(word) for word in (*guarded, sys.executable, "-m", module, *words)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=ROOT,
            env={**clean, **environment},
            pass_fds=tuple(fds),
            start_new_session=True,
        )
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):  # it has ended already
            os.killpg(started.pid, signal.SIGKILL)  # its database is dropped after the run
        started.wait()


@contextmanager
def server(
    module: str, *words: object, environment: Mapping[str, str], path: str, folder: Path
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Runs an HTTP server on an inherited socket; yields its port and its process."""
    log = folder / f"{module}.log"
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(BACKLOG)
        port = int(listening.getsockname()[1])
        fd = listening.fileno()
        words = (*words, "--fd", fd)
        with process(module, *words, environment=environment, log=log, fds=[fd]) as started:
            _wait_until_ready(f"http://127.0.0.1:{port}{path}", started, log)
            yield port, started


def _wait_until_ready(url: str, started: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and started.poll() is None:
        try:
            if httpx.get(url, timeout=2).is_success:
                return
        except httpx.TransportError:
            time.sleep(POLL_SECONDS)
    raise RuntimeError(f"{url} did not respond:\n{log.read_text(errors='replace')[-2000:]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running gateway with its workers, and an HTTP client."""

    port: int
    gateway_pid: int
    worker_pids: Sequence[int]
    key: str
    http: httpx.Client
    #: The settings of its processes, and the folder of their logs.
    environment: Mapping[str, str]
    folder: Path

    def beat(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """Runs beat."""
        return process("worker", "beat", environment=self.environment, log=self.folder / "beat.log")

    @property
    def headers(self) -> dict[str, str]:
        """The headers that authenticate a request."""
        return {"Authorization": f"Bearer {self.key}"}

    def load_courses(self, ndjson: bytes) -> None:
        """Saves courses."""
        headers = {"Content-Type": "application/x-ndjson"}
        self.http.post("/courses", content=ndjson, headers=headers).raise_for_status()

    def submit(self, content: Any, *, query: str = "", **headers: str) -> str:
        """Uploads a file; returns the id of its submission."""
        all_headers = {"Content-Type": "text/csv", **headers}
        answer = self.http.post(f"/submissions{query}", content=content, headers=all_headers)
        answer.raise_for_status()
        return str(answer.json()["submission_id"])

    def until_ended(self, submission_id: str) -> dict[str, Any]:
        """Waits until the submission is done or cancelled; returns its status."""
        while True:
            answer = self.http.get(f"/submissions/{submission_id}", headers={"Prefer": "wait=30"})
            status: dict[str, Any] = answer.raise_for_status().json()
            if status["state"] in {"done", "cancelled"}:
                return status

    def until_worker_is_ready(self) -> None:
        """Waits until a worker has processed a request."""
        body = {"user": "first", "course_details": {"course_id": COURSE}}
        for _ in range(4):
            answer = self.http.post("/enrollment", json=body, headers={"Prefer": "wait=15"})
            if answer.status_code == httpx.codes.OK:
                return
        raise RuntimeError(f"no worker responds: {answer.status_code} {answer.text[:500]}")


def fresh_environment(servers: Servers, database_url: str) -> dict[str, str]:
    """Empties Redis; returns the settings of processes that use it and the database."""
    with redis.Redis.from_url(servers.redis) as client:
        client.flushdb()
    return {
        "ENROLL_DATABASE_URL": database_url,
        "ENROLL_REDIS_URL": servers.redis,
        "ENROLL_LOG_LEVEL": "warning",
        "ENROLL_THROTTLE": "off",  # anonymous reads come from one address
    }


@contextmanager
def service(
    servers: Servers, database_url: str, *, workers: int = 0, **settings: str
) -> Iterator[Service]:
    """Runs a gateway and workers as in production, with one open course; yields when ready."""
    with ExitStack() as stack:
        folder = stack.enter_context(working_folder(on_disk=True))
        keys = {"ENROLL_DATA_DIR": str(folder / "data")}
        environment = fresh_environment(servers, database_url) | keys | settings
        gateway_made = server(
            "api_gateway.cli", "gateway", environment=environment, path="/readyz", folder=folder
        )
        port, gateway = stack.enter_context(gateway_made)
        started = [
            stack.enter_context(
                process("worker", environment=environment, log=folder / f"worker-{number}.log")
            )
            for number in range(workers)
        ]
        address = f"http://127.0.0.1:{port}{BASE}"
        bearer = {"Authorization": f"Bearer {servers.key}"}
        made = Service(
            port=port,
            gateway_pid=gateway.pid,
            worker_pids=[worker.pid for worker in started],
            key=servers.key,
            http=stack.enter_context(httpx.Client(base_url=address, headers=bearer, timeout=300)),
            environment=environment,
            folder=folder,
        )
        made.load_courses(json.dumps({"course_id": COURSE}).encode())
        if workers:
            made.until_worker_is_ready()
        yield made
