"""`enroll up` with real processes: it serves, mends itself, ends cleanly and forgets nothing."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

PATIENCE = 60.0
ENROLL = [sys.executable, "-m", "api_gateway.cli"]
COURSE = "course-v1:DemoX+ALG101+2025"


class Stack:
    """One `enroll up` on a folder of its own."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._environment = {
            **{name: value for name, value in os.environ.items() if "ENROLL_" not in name},
            **environment,
        }
        self._options = options
        self._said = folder / f"said-{time.monotonic_ns()}"
        self._errors = folder / f"errors-{time.monotonic_ns()}"
        self.url = ""

    def start(self) -> Self:
        with self._said.open("wb") as out, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*ENROLL, "up", "--port", "0", "--data-dir", self.data, *self._options],
                stdout=out,
                stderr=errors,
                env=self._environment,
                start_new_session=True,
            )
        wait_until(self._address, self.log)
        self.url = self._address()
        return self

    def _address(self) -> str:
        found = re.search(r"is at (\S+)", self._said.read_text())
        return found.group(1) if found else ""

    def log(self) -> str:
        return self._errors.read_text()

    def pids(self, name: str = "") -> list[int]:
        """The processes that were started, newest last."""
        records = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        started = [record for record in records if record["event"] == "process.started"]
        return [record["pid"] for record in started if record["name"].startswith(name)]

    def left(self) -> list[int]:
        """Processes of this stack that are alive, their children too."""
        return [pid for pid in alive() if session_of(pid) in {self.process.pid, *self.pids()}]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def key(self) -> str:
        return (self.data / "admin.key").read_text().strip()

    def http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key()}"}
        return httpx.Client(base_url=f"{self.url}/api/enrollment/v1", headers=headers, timeout=30)

    def enroll(self, *words: object) -> subprocess.CompletedProcess[str]:
        command = [*ENROLL, *map(str, words), "--data-dir", self.data]
        if words[0] in {"submit", "status", "outcomes", "cancel", "courses"}:
            command += ["--url", self.url]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=PATIENCE,
            check=False,
        )


@pytest.fixture
def stack(tmp_path) -> Iterator[Callable[..., Stack]]:
    made: list[Stack] = []

    def start(*options: str, **environment: str) -> Stack:
        made.append(Stack(tmp_path, *options, **environment))
        return made[-1].start()

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
    for one in made:
        wait_until(lambda one=one: not one.left(), one.log)


def wait_until(true: Callable[[], object], log: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if true():
            return
        time.sleep(0.05)
    pytest.fail(f"it did not come to pass:\n{log()[-4000:]}")


def alive() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def session_of(pid: int) -> int | None:
    """The session of a process; none where it has ended."""
    try:
        state, _, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return None
    return None if state == "Z" else int(session)


def rows_file(folder: Path, count: int) -> Path:
    file = folder / "rows.csv"
    lines = (f"learner{n},{COURSE}" for n in range(count))
    file.write_text("\n".join(["user,course_id", *lines]) + "\n")
    return file


def is_ready(stack: Stack) -> bool:
    try:
        return httpx.get(f"{stack.url}/readyz", timeout=5).is_success
    except httpx.TransportError:
        return False


def test_a_file_is_handed_in_and_answered(stack, tmp_path):
    up = stack("--demo", "--workers", "2")

    listed = up.enroll("courses", "list")
    done = up.enroll("submit", rows_file(tmp_path, 3_000))

    assert COURSE in listed.stdout
    assert done.returncode == 0, done.stderr
    assert "enrolled\t3000" in done.stdout
    assert len(up.pids("worker")) == 2


def test_what_is_in_the_folder_is_its_owners_alone(stack):
    up = stack()

    assert stat.S_IMODE(up.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((up.data / "admin.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((up.data / "redis.url").stat().st_mode) == 0o600
    assert up.enroll("doctor", "--url", up.url).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_when_told_to(stack, number):
    up = stack()

    assert up.end(number) == 0
    assert up.left() == []
    assert "process.killed" not in up.log()


def test_what_dies_is_started_again(stack):
    up = stack()

    for name in ("gateway", "beat", "worker"):
        os.kill(up.pids(name)[-1], signal.SIGKILL)
        wait_until(lambda name=name: len(up.pids(name)) == 2, up.log)

    wait_until(lambda: is_ready(up), up.log)
    assert up.end() == 0
    assert up.left() == []


def test_nobody_is_left_when_the_supervisor_is_killed(stack):
    up = stack()
    assert up.left()

    up.process.kill()
    up.process.wait()

    wait_until(lambda: not up.left(), up.log)


def test_a_restart_finishes_what_was_accepted(stack, tmp_path):
    up = stack("--demo")
    handed_in = up.enroll("submit", rows_file(tmp_path, 20_000), "--no-wait")
    submission = handed_in.stdout.split()[-1]
    up.process.kill()
    up.process.wait()

    again = stack()
    done = again.enroll("status", submission, "--watch")

    assert done.returncode == 0, done.stderr
    assert "enrolled\t20000" in done.stdout


def test_records_and_key_outlive_it(stack):
    up = stack("--demo")
    key = up.key()
    up.end()

    again = stack()

    assert again.key() == key
    with again.http() as http:
        assert http.get(f"/courses/{COURSE}").status_code == 200


def test_a_second_one_on_the_same_folder_is_refused(stack):
    up = stack()

    refused = up.enroll("up", "--port", "0")

    assert refused.returncode == 2
    assert str(up.process.pid) in refused.stderr
    assert is_ready(up)


def test_postgresql_and_redis_are_used_where_they_are_named(
    stack, postgres_url, redis_url, tmp_path
):
    up = stack("--demo", ENROLL_DATABASE_URL=postgres_url, ENROLL_REDIS_URL=redis_url)

    done = up.enroll("submit", rows_file(tmp_path, 10))

    assert done.returncode == 0, done.stderr
    assert not (up.data / "enrollment.sqlite3").exists()
    assert not (up.data / "redis.url").exists()
    assert up.end() == 0


def test_one_gateway_alone_serves_and_ends(tmp_path):
    environment = {**os.environ, "ENROLL_DATA_DIR": str(tmp_path)}
    subprocess.run([*ENROLL, "db", "upgrade"], env=environment, check=True)
    with (tmp_path / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [*ENROLL, "gateway", "--port", "0"], env=environment, stderr=errors
        )
    log = (tmp_path / "errors").read_text
    wait_until(lambda: "running on" in log(), log)

    process.terminate()

    assert process.wait(PATIENCE) in {0, -signal.SIGTERM}
    assert "Application shutdown complete" in log()
