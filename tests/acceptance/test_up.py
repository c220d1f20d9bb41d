"""`enroll up` with real processes: it serves, mends itself, ends cleanly and forgets nothing."""

import os
import signal
import stat
from pathlib import Path

import httpx

from tests.support.row_counts import row_counts
from tests.support.service_processes import (
    API,
    Running,
    bare,
    needs_proc,
    open_course,
    wait_until,
)

pytestmark = needs_proc

COURSE = "course-v1:DemoX+ALG101+2025"
MANY = 15_000


def rows_file(folder: Path, count: int) -> Path:
    file = folder / "rows.csv"
    lines = (f"learner{n},{COURSE}" for n in range(count))
    file.write_text("\n".join(["user,course_id", *lines]) + "\n")
    return file


def test_a_file_is_handed_in_and_answered(stack, tmp_path):
    up = stack("--demo", "--workers", "2")

    listed = up.enroll("courses", "list")
    done = up.enroll("submit", rows_file(tmp_path, 3_000))

    assert COURSE in listed.stdout
    assert done.returncode == 0, done.stderr
    assert "enrolled\t3000" in done.stdout
    assert len(up.pids("worker")) == 2


def test_a_folder_is_its_owners_alone_and_one_stacks_alone(stack):
    up = stack()

    refused = up.enroll("up", "--port", "0")

    assert refused.returncode == 2
    assert str(up.process.pid) in refused.stderr
    assert up.is_ready()
    assert stat.S_IMODE(up.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((up.data / "admin.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((up.data / "redis.url").stat().st_mode) == 0o600
    wait_until(lambda: httpx.get(f"{up.url}/readyz").json()["status"] == "ok", up.log)
    assert up.enroll("doctor", "--url", up.url).returncode == 0


def test_what_dies_is_started_again(stack):
    up = stack()

    for name in ("gateway", "beat", "worker"):
        os.kill(up.pids(name)[-1], signal.SIGKILL)

    wait_until(
        lambda: [len(up.pids(name)) for name in ("gateway", "beat", "worker")] == [2] * 3, up.log
    )
    wait_until(up.is_ready, up.log)
    assert up.end() == 0
    assert up.left() == []


def test_killed_at_work_it_leaves_nobody_and_finishes_when_started_again(stack, tmp_path):
    up = stack()
    records = f"sqlite:///{up.data / 'enrollment.sqlite3'}"
    key = up.key()
    with up.http() as http:
        assert http.put(f"/courses/{COURSE}", json=open_course(COURSE)).status_code == 201
        path = f"/submissions/{hand_in(http, tmp_path)}"
        counts = wait_until(lambda: some_answered(http.get(path).json()["counts"]), up.log)
    up.kill()
    wait_until(lambda: not up.left(), up.log)

    again = stack()
    done = again.enroll("status", path.rpartition("/")[2], "--watch")

    assert counts["pending"] > 0
    assert done.returncode == 0, done.stderr
    assert f"enrolled\t{MANY}" in done.stdout
    assert row_counts(records) == (MANY,) * 4
    assert again.key() == key


def hand_in(http, folder: Path) -> str:
    file = rows_file(folder, MANY).read_bytes()
    taken = http.post("/submissions", content=file, headers={"Content-Type": "text/csv"})
    assert taken.status_code == 202, taken.text
    submission_id: str = taken.json()["submission_id"]
    return submission_id


def some_answered(counts: dict[str, int]) -> dict[str, int]:
    return counts if counts["pending"] < counts["total"] else {}


def test_where_servers_are_named_none_is_made(stack, postgres_url, redis_url):
    up = stack(ENROLL_DATABASE_URL=postgres_url, ENROLL_REDIS_URL=redis_url)

    assert not (up.data / "enrollment.sqlite3").exists()
    assert not (up.data / "redis.url").exists()


def test_one_gateway_alone_serves_and_ends(tmp_path):
    environment = bare(ENROLL_DATABASE_URL=f"sqlite:///{tmp_path}/x.sqlite3")
    assert Running(tmp_path, ["db", "upgrade"], environment).start().process.wait() == 0
    gateway = Running(tmp_path, ["gateway", "--port", "0"], environment).start()
    wait_until(lambda: "running on" in gateway.log(), gateway.log)

    assert gateway.end() in {0, -signal.SIGTERM}
    assert "Application shutdown complete" in gateway.log()
    assert gateway.left() == []


def test_tokens_are_signed_with_a_key_of_the_folder_that_can_be_replaced(stack):
    up = stack()

    def asks(token):
        headers = {"Authorization": f"JWT {token}"}
        return httpx.get(f"{up.url}{API}/enrollment", headers=headers).status_code

    first = up.enroll("tokens", "create", "ada").stdout.strip()
    assert asks(first) == 200
    key = up.data / "signing.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert up.enroll("tokens", "rotate").returncode == 0
    second = up.enroll("tokens", "create", "ada").stdout.strip()

    assert (asks(second), asks(first)) == (200, 200)
    kept = key.read_text()
    assert up.enroll("tokens", "rotate", "--end-tokens").returncode == 0
    wait_until(lambda: asks(first) == asks(second) == 401, up.log)
    assert asks(up.enroll("tokens", "create", "ada").stdout.strip()) == 200
    for line in kept.splitlines():
        assert line.split()[0] not in up.log()


def test_a_folder_that_was_open_and_all_its_files_are_closed(stack, tmp_path):
    before = os.umask(0o022)
    try:
        (tmp_path / "data").mkdir(mode=0o755)
        up = stack("--demo")
        up.enroll("submit", rows_file(tmp_path, 50))
        files = [up.data, *up.data.rglob("*")]
    finally:
        os.umask(before)

    assert {"enrollment.sqlite3", "signing.key"} <= {file.name for file in files}
    assert [file.name for file in files if file.exists() and file.stat().st_mode & 0o077] == []
