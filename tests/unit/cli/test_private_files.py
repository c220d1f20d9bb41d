"""Files and folders of the service are closed to other users of the machine."""

import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from api_gateway.cli.exit_codes import CannotRun
from api_gateway.cli.up import data_dir_lock, embedded_redis, prepare_database
from enrollment.runtime import private_files
from enrollment.runtime.private_files import (
    OpenToOthers,
    create_private_file,
    make_private_folder,
    write_private_file,
)
from enrollment.runtime.settings import sqlite_url
from enrollment.storage import migrate
from enrollment.storage.engine import consistent_snapshot
from enrollment.storage.engine.sessions import sessions_for
from tests.support.service_processes import ENROLL, bare

WRITERS = 8


@contextmanager
def usual_umask():
    """The umask of most systems, by which everybody can read new files."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture(autouse=True)
def _usual_umask():
    with usual_umask():
        yield


def modes(folder):
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}


@pytest.fixture
def open_folder(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    assert modes(folder) == {"data": 0o755}
    return folder


def test_nothing_in_the_data_folder_is_open_to_others(open_folder):
    with data_dir_lock(open_folder), embedded_redis(open_folder):
        prepare_database({"ENROLL_DATA_DIR": str(open_folder)}, open_folder)
        found = modes(open_folder)

    assert {"lock", "redis.url", "admin.key", "enrollment.sqlite3"} <= set(found)
    assert {name: mode for name, mode in found.items() if mode & 0o077} == {}


def test_an_upgrade_closes_a_folder_that_was_open_and_says_so(enroll, open_folder):
    result = enroll("db", "upgrade")

    assert result.exit_code == 0
    assert "(mode 755); it is 700 now." in result.stderr
    assert {name: mode for name, mode in modes(open_folder).items() if mode & 0o077} == {}
    assert enroll("db", "upgrade").stderr == ""


def test_journal_tickets_and_locks_are_private_during_a_transaction(tmp_path):
    folder = tmp_path / "records"
    folder.mkdir(mode=0o755)
    url = f"sqlite:///{folder / 'x.sqlite3'}"
    migrate.upgrade(url)
    sessions = sessions_for(url)

    with sessions.attempt_locks.scope() as locks, sessions.begin() as session:
        locks.acquire([1])
        session.execute(text("UPDATE edition SET number = number + 1"))
        found = modes(folder)
    sessions.dispose()

    assert "x.sqlite3-journal" in found
    assert "x.sqlite3.tickets" in found
    del found["records"]  # a folder that was named by its database is not ours
    assert {name: mode for name, mode in found.items() if mode & 0o077} == {}


def test_the_copy_that_is_verified_is_private(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    url = f"sqlite:///{tmp_path / 'x.sqlite3'}"
    migrate.upgrade(url)
    sessions = sessions_for(url)
    seen = []

    class Watched(consistent_snapshot.TemporaryDirectory):
        def __exit__(self, *raised):
            seen.append(modes(Path(self.name)))
            super().__exit__(*raised)

    monkeypatch.setattr(consistent_snapshot, "TemporaryDirectory", Watched)
    with consistent_snapshot.snapshot(sessions) as session:
        assert session.scalar(text("SELECT number FROM edition")) == 1
    sessions.dispose()

    (found,) = seen
    assert found[next(name for name in found if name.startswith("enroll-copy-"))] == 0o700


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ([*ENROLL, "gateway", "--port", "0"], "Error"),
        ([sys.executable, "-m", "worker"], "error"),
        ([sys.executable, "-m", "worker", "beat"], "error"),
    ],
)
def test_no_process_starts_in_a_folder_that_all_share(tmp_path, command, answer):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)

    done = subprocess.run(
        command,
        env=bare(
            ENROLL_DATA_DIR=str(shared),
            ENROLL_DATABASE_URL=sqlite_url(shared),
            ENROLL_REDIS_URL="redis://127.0.0.1:1",
        ),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2, done.stderr
    assert f"other users can enter the data folder {shared} (mode 1777)" in done.stderr
    assert modes(shared) == {"shared": 0o1777}


def test_a_folder_of_somebody_else_is_refused_not_changed(open_folder, monkeypatch):
    monkeypatch.setattr(private_files.os, "geteuid", lambda: open_folder.stat().st_uid + 1)

    with pytest.raises(OpenToOthers, match="chmod 700"):
        make_private_folder(open_folder)
    with pytest.raises(CannotRun, match="--data-dir"), data_dir_lock(open_folder):
        pytest.fail("it was used")
    assert modes(open_folder) == {"data": 0o755}


@pytest.mark.parametrize("mode", [0o710, 0o701, 0o770, 0o707, 0o755, 0o777])
def test_any_permission_of_others_is_taken_away(open_folder, mode):
    open_folder.chmod(mode)

    assert make_private_folder(open_folder) == mode
    assert modes(open_folder) == {"data": 0o700}
    assert make_private_folder(open_folder) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_that_root_replaces_stays_its_owners(tmp_path):
    file = tmp_path / "signing.key"
    private_files.write_private_file(file, "first")
    os.chown(file, 65534, 65534)

    private_files.write_private_file(file, "second")

    assert file.read_text() == "second"
    assert (file.stat().st_uid, file.stat().st_gid) == (65534, 65534)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_of_several_that_create_a_file_at_once_one_wins_and_nothing_is_left(tmp_path):
    start = threading.Barrier(WRITERS)

    def create(number):
        start.wait()
        create_private_file(tmp_path / "x.key", f"{number}\n" * 1_000)
        return (tmp_path / "x.key").read_text()

    with ThreadPoolExecutor(WRITERS) as pool:
        texts = set(pool.map(create, range(WRITERS)))

    assert len(texts) == 1
    assert len(texts.pop().split()) == 1_000
    assert modes(tmp_path) == {tmp_path.name: modes(tmp_path)[tmp_path.name], "x.key": 0o600}


@pytest.mark.parametrize("write", [create_private_file, write_private_file])
def test_the_name_of_a_private_file_survives_a_power_cut_too(tmp_path, monkeypatch, write):
    path, synced = tmp_path / "secret", []
    fsync = os.fsync

    def record(descriptor):
        fsync(descriptor)
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))

    monkeypatch.setattr(os, "fsync", record)

    write(path, "key\n")

    assert synced == [(False, False), (True, True)]  # the contents first, then the name
