"""One gateway, workers and the schedule as processes, with a queue that a test may break."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx

from api_gateway.auth.api_keys import new_api_key
from enrollment.storage import migrate
from enrollment.storage.credentials import api_keys
from enrollment.storage.engine.sessions import sessions_for
from tests.support.row_counts import row_counts
from tests.support.servers import free_port
from tests.support.service_processes import (
    Running,
    bare,
    client,
    ended,
    is_ready,
    open_course,
    wait_until,
)

#: Maximum seconds for two 202s, whatever state the queue is in: one attempt to use it.
BOUND = 2.0
ASYNC = {"Prefer": "respond-async"}


class Service:
    """A service on its own folder; SQLite by default."""

    def __init__(self, folder: Path, *, database_url: str = "", **environment: str) -> None:
        self.folder = folder
        self.database_url = database_url or f"sqlite:///{folder / 'enrollment.sqlite3'}"
        self._environment = {
            "ENROLL_DATABASE_URL": self.database_url,
            "ENROLL_DATA_DIR": str(folder),
            # some tests use a PostgreSQL without fsync
            "ENROLL_ACCEPT_DATA_LOSS": "true",
            **environment,
        }
        self._running: list[Running] = []
        self.key = ""
        self.url = ""

    def __enter__(self) -> Self:
        """Migrates the database; starts nothing."""
        migrate.upgrade(self.database_url)
        sessions = sessions_for(self.database_url, pool_size=1)
        self.key, digest = new_api_key()
        with sessions.begin() as session:
            scopes = frozenset({"admin"})
            api_keys.add(session, name="t", scopes=scopes, digest=digest, now=datetime.now(UTC))
        sessions.dispose()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops everything."""
        for one in self._running:
            one.bury()

    def start(self, *words: str, **environment: str) -> Running:
        """Starts one `enroll` process."""
        settings = bare(**{**self._environment, **environment})
        running = Running(self.folder, words, settings).start()
        self._running.append(running)
        return running

    def start_all(self) -> Self:
        """Starts a gateway, a worker and the schedule; waits until the gateway is ready."""
        self.worker = self.start("worker")
        self.beat = self.start("beat")
        return self.start_gateway()

    def start_gateway(self) -> Self:
        """Starts a gateway and waits until it is ready."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.gateway = self.start("gateway", "--port", str(port))
        wait_until(lambda: is_ready(self.url), self.log)
        return self

    def http(self) -> httpx.Client:
        """Returns a client with an admin key."""
        return client(self.url, self.key)

    def log(self) -> str:
        """Returns the logs of all processes."""
        return "\n".join(one.log() for one in self._running)

    def is_well(self, course: str) -> dict[str, Any]:
        """Sends one more single request and waits for its outcome."""
        with self.http() as http:
            answer = ask(http, f"well{datetime.now(UTC).timestamp()}".replace(".", ""), course)
            assert answer.status_code in {200, 202}, answer.text
            return ended(http, answer.json()["submission_id"], self.log)

    def enrolled(self, course: str) -> int:
        """Returns the numbers of active enrollments by all sources."""
        seats, active, events, *_ = row_counts(self.database_url, course)
        assert seats == active == events
        return int(active)


def quickly(http: httpx.Client, course: str, number: int) -> Sequence[str]:
    """Sends a single request and a file, whose 202s do not wait for the queue."""
    began = time.monotonic()
    taken = hand_in(http, course, f"n{number}x", singles=1, rows=30)
    assert time.monotonic() - began < BOUND
    return taken


def open_for_all(http: httpx.Client, course: str) -> str:
    """Creates a course that is open to all."""
    made = http.put(f"/courses/{course}", json=open_course(course))
    assert made.is_success, made.text
    return course


def ask(http: httpx.Client, user: str, course: str, **headers: str) -> httpx.Response:
    """Sends one enrollment without waiting."""
    asked = {"user": user, "course_details": {"course_id": course}}
    return http.post("/enrollment", json=asked, headers={**ASYNC, **headers})


def hand_in(
    http: httpx.Client, course: str, name: str, *, singles: int, rows: int
) -> Sequence[str]:
    """Sends single requests and a file; returns the submission ids."""
    taken = [ask(http, f"{name}{number}", course) for number in range(singles)]
    file = [{"user": f"{name}row{number}", "course_id": course} for number in range(rows)]
    taken += [http.post("/submissions", json={"enrollments": file})] if file else []
    assert [answer.status_code for answer in taken] == [202] * len(taken), taken[-1].text
    return [answer.json()["submission_id"] for answer in taken]
