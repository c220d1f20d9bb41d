"""One supervised process of the service, and all ways to disturb it."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.support.service_processes import ENROLL, alive, children_of, session_of, tied

#: Seconds before a dead process is restarted.
PAUSE = 0.1


class Death(NamedTuple):
    """A process that ended, with its exit status."""

    name: str
    pid: int
    status: int


class SupervisedProcess:
    """One process of the service, in its own session; the watchdog starts and restarts it."""

    def __init__(self, role: str, number: int, words: Sequence[object], folder: Path) -> None:
        self.role = role
        self.name = f"{role}-{number}"
        self.environment: Mapping[str, str] = {}
        self.deaths: list[Death] = []
        self.starts = 0
        self._words = words
        self._log = folder / f"{self.name}.log"
        self._log.touch()
        self._process: subprocess.Popen[bytes] | None = None
        self._starts_at = 0.0
        self._read_from = 0
        self._reported_deaths = 0

    @property
    def pid(self) -> int:
        """Returns the current process id; the process may be dead. Raises ProcessLookupError."""
        process = self._process
        if process is None:
            raise ProcessLookupError(f"{self.name} is being started")
        return process.pid

    @property
    def is_alive(self) -> bool:
        """Returns whether it runs."""
        process = self._process
        return process is not None and process.poll() is None

    def supervise(self) -> None:
        """Records a death and cleans up; restarts the process after the pause."""
        process = self._process
        if process is not None and process.poll() is not None:
            self.deaths.append(Death(self.name, process.pid, process.returncode))
            self._process = None
            self._starts_at = time.monotonic() + PAUSE
            _kill_session(process.pid)
        elif process is None and time.monotonic() >= self._starts_at:
            self._process = self._spawn()
            self.starts += 1

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                tied([*ENROLL, *self._words]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )

    def family(self) -> list[int]:
        """Returns its live processes, the parent first."""
        with suppress(ProcessLookupError):
            pid = self.pid
            return sorted(one for one in alive() if session_of(one) == pid)
        return []

    def children(self) -> list[int]:
        """Returns the processes of a worker's pool."""
        with suppress(ProcessLookupError):
            return children_of(self.pid)
        return []

    def kill(self) -> int:
        """Kills all its processes; returns the process id, or 0 if there was none."""
        with suppress(ProcessLookupError):
            pid = self.pid
            os.killpg(pid, signal.SIGKILL)
            return pid
        return 0

    def terminate(self) -> None:
        """Sends SIGTERM, as a deployment does."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Stops all its processes (SIGSTOP) inside the block."""
        family = self.family()
        _signal(family, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(family, signal.SIGCONT)

    @contextmanager
    def limited(self, what: int, to: int) -> Iterator[None]:
        """Sets a resource limit (``resource.RLIMIT_…``) of all its processes inside the block."""
        limits = resource.getrlimit(what)  # the limits of the tests, which it inherited
        self._limit(what, (to, limits[1]))
        try:
            yield
        finally:
            self._limit(what, limits)

    def _limit(self, what: int, limits: tuple[int, int]) -> None:
        for pid in self.family():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, what, limits)

    def log(self) -> str:
        """Returns the log of all its runs since the stack started."""
        return self._log.read_text(errors="replace")

    def mark(self) -> None:
        """Marks the start of a run: earlier log lines and deaths are ignored."""
        self._read_from = self._log.stat().st_size
        self._reported_deaths = len(self.deaths)

    def log_since_mark(self) -> str:
        """Returns the log of this run."""
        with self._log.open("rb") as file:
            file.seek(self._read_from)
            return file.read().decode(errors="replace")

    def logged_times(self, words: str) -> int:
        """Returns how often the log of this run contains the words."""
        return self.log_since_mark().count(words)

    def new_deaths(self) -> list[Death]:
        """Returns its deaths since the last call."""
        before, self._reported_deaths = self._reported_deaths, len(self.deaths)
        return self.deaths[before : self._reported_deaths]

    def destroy(self) -> None:
        """Stops it and all its children for good."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _kill_session(process.pid)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _kill_session(leader: int) -> None:
    _signal([pid for pid in alive() if session_of(pid) == leader], signal.SIGKILL)
