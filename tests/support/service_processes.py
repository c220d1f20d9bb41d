"""Whole services as real processes: `enroll up`, and the single processes of a production."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

#: Maximum wait for any condition on a busy machine, in seconds.
PATIENCE = 60.0
API = "/api/enrollment/v1"
ENROLL = [sys.executable, "-m", "api_gateway.cli"]
#: The message of `enroll up` without a Redis and without the embedded one.
LOCAL_EXTRA = (
    "`enroll up` runs an embedded Redis, which is not installed: install the extra `local` "
    "(pip install 'fakeredis[lua]==2.40.0'), or name a Redis server in ENROLL_REDIS_URL."
)
ENDED = {"done", "cancelled"}
_CLIENTS = {"submit", "submissions", "status", "outcomes", "cancel", "courses", "learners"}
_CLIENTS |= {"invitations", "crosswalks", "enrollments", "webhooks", "destinations"}
#: For modules whose tests look for processes.
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
_TIE = Path(__file__).with_name("parent_death.py")


def wait_until(true: Callable[[], Any], log: Callable[[], str] = str) -> Any:
    """Waits for a condition; fails with the log if it does not come."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.02)
    return pytest.fail(f"it did not come to pass:\n{log()[-4000:]}")


def alive() -> list[int]:
    """Returns the ids of all processes of this machine."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def session_of(pid: int) -> int | None:
    """Returns the session of a process; None if it has ended."""
    stat = _stat(pid)
    return None if stat is None else stat[2]


def children_of(parent: int) -> list[int]:
    """Returns the live children of a process."""
    return [pid for pid in alive() if (stat := _stat(pid)) is not None and stat[0] == parent]


def _stat(pid: int) -> tuple[int, int, int] | None:
    """Returns parent, group and session of a live process."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] == "Z" else (int(words[1]), int(words[2]), int(words[3]))


_FOR_TESTS = {"ENROLL_ACCEPT_DATA_LOSS": "true", "ENROLL_THROTTLE": "off"}


def bare(**environment: str) -> dict[str, str]:
    """Returns this environment without settings of the service, plus the given ones.

    The servers of tests need not survive a power cut, and no rates are limited.
    """
    kept = {name: value for name, value in os.environ.items() if "ENROLL_" not in name}
    return {**kept, **_FOR_TESTS, **environment}


def tied(command: Sequence[object]) -> list[str]:
    """Returns a command that the kernel kills when the test run ends in any way."""
    tie = [sys.executable, "-I", "-S", _TIE, os.getpid(), int(signal.SIGKILL), -1]
    return [str(word) for word in (*tie, *command)]


def client(url: str, key: str) -> httpx.Client:
    """A client of a service with an API key."""
    return httpx.Client(
        base_url=f"{url}{API}",
        headers={"Authorization": f"Bearer {key}"},
        timeout=PATIENCE,
        limits=httpx.Limits(max_connections=None),
    )


def is_ready(url: str) -> bool:
    """Returns whether a service reports that it is ready."""
    try:
        return httpx.get(f"{url}/readyz", timeout=5).is_success
    except httpx.TransportError:
        return False


def submission(http: httpx.Client, submission_id: str) -> dict[str, Any]:
    """Waits some seconds for a submission to be done; returns it, or {} without an answer."""
    try:
        answer = http.get(f"/submissions/{submission_id}", headers={"Prefer": "wait=5"})
    except httpx.TransportError:
        return {}
    if answer.is_server_error:
        return {}
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def ended(http: httpx.Client, submission_id: str, log: Callable[[], str] = str) -> dict[str, Any]:
    """Waits until all requests of a submission have outcomes; returns it."""

    def look() -> dict[str, Any] | None:
        now = submission(http, submission_id)
        return now if now.get("state") in ENDED else None

    answered: dict[str, Any] = wait_until(look, log)
    return answered


def open_course(course_id: str, **members: object) -> dict[str, object]:
    """Creates a course that is open to all now."""
    mode = {"slug": "audit", "name": "Audit"}
    return {"course_id": course_id, "course_name": "Open", "course_modes": [mode], **members}


def moment() -> str:
    """Returns the current time in the format of course windows."""
    return datetime.now(UTC).isoformat()


class Running:
    """One process of the service with its children; it ends with the test run."""

    #: The command `enroll`, and the folder to run it in (default: that of the test run).
    program: Sequence[str] = ENROLL
    cwd: Path | None = None

    def __init__(
        self, folder: Path, words: Sequence[object], environment: Mapping[str, str]
    ) -> None:
        self._words = words
        # its keys are in no folder that processes of other tests use
        self._environment = {"ENROLL_DATA_DIR": str(folder / "data"), **environment}
        self._errors = folder / f"errors-{time.monotonic_ns()}"
        self._said = folder / f"said-{time.monotonic_ns()}"

    def start(self) -> Self:
        """Starts it in its own session."""
        with self._said.open("ab") as out, self._errors.open("ab") as errors:
            self.process = subprocess.Popen(
                tied([*self.program, *self._words]),
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                env=self._environment,
                start_new_session=True,
            )
        return self

    def said(self) -> str:
        """Returns its output."""
        return self._said.read_text()

    def log(self) -> str:
        """Returns its log."""
        return self._errors.read_text()

    def left(self) -> list[int]:
        """Returns its live processes."""
        return [pid for pid in alive() if session_of(pid) == self.process.pid]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stops it with SIGTERM; returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """Kills it."""
        self.process.kill()
        self.process.wait()

    def bury(self) -> None:
        """Kills all its processes."""
        self.kill()
        for pid in self.left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Suspends it during the block."""
        self._tell(signal.SIGSTOP)
        try:
            yield
        finally:
            self._tell(signal.SIGCONT)

    def _tell(self, number: signal.Signals) -> None:
        for pid in self.left():
            os.kill(pid, number)


class Stack(Running):
    """One `enroll up` on its own folder."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.url = ""
        words = ["up", "--port", "0", "--data-dir", self.data, *options]
        super().__init__(folder, words, bare(**environment))

    def start(self) -> Self:
        """Starts it and waits until it prints its address."""
        super().start()
        wait_until(lambda: self._address() or self.process.poll() is not None, self.log)
        self.url = self._address()
        assert self.url, self.log()
        return self

    def _address(self) -> str:
        found = re.search(r"is at (\S+)", self.said())
        return found.group(1) if found else ""

    def pids(self, name: str = "") -> list[int]:
        """Returns the started processes, newest last."""
        lines = (line for line in self.log().splitlines() if line.endswith("}"))
        records = [json.loads(line) for line in lines if line.startswith("{")]
        started = [record for record in records if record["event"] == "process.started"]
        return [record["pid"] for record in started if record["name"].startswith(name)]

    def left(self) -> list[int]:
        """Returns the live processes of this stack with their children."""
        sessions = {self.process.pid, *self.pids()}
        return [pid for pid in alive() if session_of(pid) in sessions]

    def is_ready(self) -> bool:
        """Returns whether it is ready."""
        return is_ready(self.url)

    def key(self) -> str:
        """Returns the admin key of its folder."""
        return (self.data / "admin.key").read_text().strip()

    def http(self) -> httpx.Client:
        """Returns a client with the admin key."""
        return client(self.url, self.key())

    def enroll(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Runs another `enroll` command on its folder or address."""
        return subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=2 * PATIENCE,
            check=False,
        )

    def enroll_beside(self, *words: object) -> Running:
        """The same, while the test continues."""
        words = tuple(self.command(*words)[len(self.program) :])
        return Running(self.folder, words, self._environment).start()

    def command(self, *words: object) -> list[str]:
        """Returns the arguments of an `enroll` command on this stack."""
        at = ["--url", self.url] if words[0] in _CLIENTS else []
        return [str(word) for word in (*self.program, *words, "--data-dir", self.data, *at)]
