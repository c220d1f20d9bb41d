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

COURSE = "course-v1:DemoX+ALG101+2025"


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

    wait_until(lambda: up.is_ready(), up.log)
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
    assert up.is_ready()


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
