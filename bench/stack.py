"""The processes that are measured, each on fresh records, all gone at the end.

Nothing waits by the clock: who starts a process asks it until it answers.
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
LOOK_SECONDS = 0.02
BACKLOG = 2048
#: The course of measures that need just one.
COURSE = "course-v1:Bench+Open+2026"


#: A server's port and its process, for the length of a block.
Serving = AbstractContextManager[tuple[int, subprocess.Popen[bytes]]]


class Size(NamedTuple):
    """How much is measured."""

    runs: int
    #: Seconds of one measure of a rate.
    seconds: float
    #: Rows of the file that memory is measured with.
    rows: int
    is_quick: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """The servers that all measures share, and empty records to copy."""

    postgres: str
    redis: str
    template: str
    #: An admin key that the empty records know.
    key: str

    @contextmanager
    def database(self) -> Iterator[str]:
        """A PostgreSQL database with the tables and the key in it."""
        url = create_database(self.postgres, template=self.template.rpartition("/")[2])
        try:
            yield url
        finally:
            drop_database(self.postgres, url)

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """A PostgreSQL database with nothing in it."""
        url = create_database(self.postgres)
        try:
            yield url
        finally:
            drop_database(self.postgres, url)

    @contextmanager
    def sqlite(self) -> Iterator[str]:
        """The same records in a SQLite file, on disk."""
        with working_folder(on_disk=True) as folder:
            url = f"sqlite:///{folder / 'enrollment.sqlite3'}"
            _prepare(url, self.key)
            yield url


@contextmanager
def make_ground(postgres: str, redis_url: str) -> Iterator[Ground]:
    """Empty records on a server, made once and copied for each run."""
    key, _ = new_api_key()
    template = create_database(postgres)
    try:
        _prepare(template, key)
        yield Ground(postgres=postgres, redis=redis_url, template=template, key=key)
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
    """A Python program of ours; it and its children end with the block, or with this process."""
    tie = ROOT / "tests" / "support" / "parent_death.py"
    tied = [sys.executable, "-I", "-S", tie, os.getpid(), int(signal.SIGKILL), -1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ENROLL_")}
    with log.open("ab") as out:
        started = subprocess.Popen(
            [str(word) for word in (*tied, sys.executable, "-m", module, *words)],
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
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(started.pid, signal.SIGKILL)  # its records are dropped with the run
        started.wait()


@contextmanager
def server(
    module: str, *words: object, environment: Mapping[str, str], path: str, folder: Path
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A program that serves HTTP on a socket handed to it; its port and its process."""
    log = folder / f"{module}.log"
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(BACKLOG)
        port = int(listening.getsockname()[1])
        fd = listening.fileno()
        words = (*words, "--fd", fd)
        with process(module, *words, environment=environment, log=log, fds=[fd]) as started:
            _until_it_answers(f"http://127.0.0.1:{port}{path}", started, log)
            yield port, started


def _until_it_answers(url: str, started: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and started.poll() is None:
        try:
            if httpx.get(url, timeout=2).is_success:
                return
        except httpx.TransportError:
            time.sleep(LOOK_SECONDS)
    raise RuntimeError(f"{url} did not answer:\n{log.read_text(errors='replace')[-2000:]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running gateway with its workers, and how to speak to it."""

    port: int
    gateway_pid: int
    worker_pids: Sequence[int]
    key: str
    http: httpx.Client

    @property
    def headers(self) -> dict[str, str]:
        """What proves a request."""
        return {"Authorization": f"Bearer {self.key}"}

    def load_courses(self, ndjson: bytes) -> None:
        """Make courses known."""
        headers = {"Content-Type": "application/x-ndjson"}
        self.http.post("/courses", content=ndjson, headers=headers).raise_for_status()

    def submit(self, content: Any, **headers: str) -> str:
        """Hand a file in; the id of its submission."""
        wanted = {"Content-Type": "text/csv", **headers}
        answer = self.http.post("/submissions", content=content, headers=wanted)
        answer.raise_for_status()
        return str(answer.json()["submission_id"])

    def until_done(self, submission_id: str) -> dict[str, Any]:
        """The submission once nothing of it is left."""
        while True:
            answer = self.http.get(f"/submissions/{submission_id}", headers={"Prefer": "wait=30"})
            shown: dict[str, Any] = answer.raise_for_status().json()
            if shown["state"] == "done":
                return shown

    def until_work_is_done(self) -> None:
        """Returns when a worker has answered its first request."""
        body = {"user": "first", "course_details": {"course_id": COURSE}}
        for _ in range(4):
            answer = self.http.post("/enrollment", json=body, headers={"Prefer": "wait=15"})
            if answer.status_code == httpx.codes.OK:
                return
        raise RuntimeError(f"no worker answers: {answer.status_code} {answer.text[:500]}")


@contextmanager
def service(ground: Ground, database_url: str, *, workers: int = 0) -> Iterator[Service]:
    """A gateway and workers as production runs them, ready, with one open course."""
    with redis.Redis.from_url(ground.redis) as client:
        client.flushdb()
    environment = {
        "ENROLL_DATABASE_URL": database_url,
        "ENROLL_REDIS_URL": ground.redis,
        "ENROLL_LOG_LEVEL": "warning",
    }
    with ExitStack() as stack:
        folder = stack.enter_context(working_folder(on_disk=True))
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
        bearer = {"Authorization": f"Bearer {ground.key}"}
        made = Service(
            port=port,
            gateway_pid=gateway.pid,
            worker_pids=[worker.pid for worker in started],
            key=ground.key,
            http=stack.enter_context(httpx.Client(base_url=address, headers=bearer, timeout=300)),
        )
        made.load_courses(json.dumps({"course_id": COURSE}).encode())
        if workers:
            made.until_work_is_done()
        yield made
