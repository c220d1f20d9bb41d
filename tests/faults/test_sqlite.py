"""SQLite's file locked, full, failing, moved, left by a crash: 503 or a later retry, no false 202."""

import os
import resource
import shutil
import sqlite3
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from api_gateway import database
from api_gateway.intake import group_commit
from enrollment.storage import migrate
from enrollment.storage.engine import engines, write_lock
from enrollment.storage.engine.write_lock import WriteLock
from tests.support.breakpoints import together
from tests.support.gateway import Gateway
from tests.support.outage_client import OutageClient, assert_unavailable
from tests.support.service_processes import wait_until
from tests.support.small_disk import small_disk
from tests.support.temporary_folders import working_folder


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """Tables to copy."""
    file = tmp_path_factory.mktemp("empty") / "x.sqlite3"
    migrate.upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def impatient(monkeypatch):
    """Time-outs that are short enough for a test."""
    for module in (engines, write_lock):
        monkeypatch.setattr(module, "SQLITE_BUSY_SECONDS", 0.2)


@contextmanager
def asking_at(file):
    gateway = Gateway(f"sqlite:///{file}")
    try:
        yield OutageClient(gateway)
    finally:
        gateway.close()


@pytest.fixture
def file(tmp_path, empty):
    return Path(shutil.copy(empty, tmp_path / "x.sqlite3"))


@pytest.fixture
def desk(file, impatient):
    with asking_at(file) as made:
        yield made


@contextmanager
def shell(file):
    """Another connection, without a lock time-out."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as connection:
        yield connection


def assert_away(desk):
    """Checks that no request gets 202, and that the readiness probe reports the reason."""
    assert_unavailable(desk.ask())
    assert_unavailable(desk.hand_in())
    assert not desk.is_ready


def assert_back(desk, file):
    """Checks that the service recovered by itself and lost nothing."""
    assert desk.is_ready
    assert desk.ask().status_code == 202
    assert desk.hand_in().status_code == 202
    desk.settle()
    assert_whole(file)


def assert_whole(file):
    with shell(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# --- locked -------------------------------------------------------------------------------


def test_while_somebody_holds_the_file_alone_nobody_hears_202(desk, file):
    desk.ask()
    with shell(file) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert_away(desk)
        assert desk.gateway.get("enrollments", desk.gateway.edx).status_code == 503
        other.execute("ROLLBACK")
    assert_back(desk, file)


def test_while_somebody_writes_without_end_reads_go_on(desk, file):
    desk.ask()
    with shell(file) as other:
        other.execute("BEGIN IMMEDIATE")
        assert_away(desk)
        assert desk.gateway.get("enrollments", desk.gateway.edx).status_code == 200
        other.execute("ROLLBACK")
    assert_back(desk, file)


def test_while_somebody_reads_without_end_nobody_hears_202(desk, file):
    desk.ask()
    with shell(file) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM edition").fetchone()
        assert_away(desk)
        other.execute("ROLLBACK")
    assert_back(desk, file)


def test_whoever_holds_the_lock_of_writers_and_stands_still_keeps_nobody_waiting(desk, file):
    with WriteLock(file).held():
        assert_away(desk)
    assert_back(desk, file)


def test_whoever_waited_behind_a_long_failure_hears_of_it_too(file, monkeypatch, impatient):
    monkeypatch.setattr(database, "CALL_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(group_commit, "MAX_FAILURE_SECONDS", 0.1)
    for module in (engines, write_lock):
        monkeypatch.setattr(module, "SQLITE_BUSY_SECONDS", 1.0)
    with asking_at(file) as desk:
        with shell(file) as other:
            other.execute("BEGIN EXCLUSIVE")
            for answer in together(*[desk.ask] * 5):
                assert_unavailable(answer)
            other.execute("ROLLBACK")
        wait_until(lambda: desk.is_ready)
        assert_back(desk, file)


# --- full and failing ---------------------------------------------------------------------


def test_a_disk_that_is_full_takes_nothing_and_loses_nothing(tmp_path, empty, impatient):
    with small_disk(tmp_path / "small", megabytes=4) as disk:
        file = Path(shutil.copy(empty, disk.folder / "x.sqlite3"))
        with asking_at(file) as desk:
            desk.ask()
            desk.hand_in()
            with disk.full():
                assert_away(desk)
                assert desk.gateway.get("enrollments", desk.gateway.edx).status_code == 200
                assert_whole(file)
            assert_back(desk, file)


@contextmanager
def no_file_grows(beyond):
    """Writing past a size fails in this process, as on a broken disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (beyond, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("part", [1.0, 0.01], ids=["of the file", "of its journal"])
def test_a_write_that_fails_is_no_202(desk, file, part):
    desk.ask()
    with capture_logs(), no_file_grows(int(file.stat().st_size * part)):
        desk.asks_until(503)
        assert not desk.is_ready
        assert_whole(file)
    assert_back(desk, file)


def test_a_file_that_there_is_no_room_to_take_in_is_no_202(desk, file):
    with capture_logs() as logs, no_file_grows(10_000):
        assert_unavailable(desk.hand_in(2_000))
    assert logs[0]["event"] == "upload.not_spooled"
    assert_back(desk, file)


# --- moved --------------------------------------------------------------------------------


def test_a_file_that_is_taken_away_is_not_written_to(desk, file):
    desk.ask()
    kept = file.rename(file.with_name("elsewhere"))
    assert_away(desk)
    assert desk.gateway.get("enrollments", desk.gateway.edx).status_code == 503

    kept.rename(file)
    assert_back(desk, file)


def test_a_file_that_is_replaced_is_the_one_that_is_used_from_then_on(desk, file):
    desk.ask()
    copy = shutil.copy(file, file.with_name("copy"))
    Path(copy).rename(file)

    assert_back(desk, file)


@pytest.mark.parametrize("content", [b"", b"this is not a database, whatever its name says" * 99])
def test_what_is_no_database_is_not_written_to(desk, file, content):
    desk.ask()
    kept = file.rename(file.with_name("elsewhere"))
    file.write_bytes(content)
    assert_away(desk)

    kept.rename(file)
    assert_back(desk, file)


def test_a_folder_that_is_gone_is_no_202(tmp_path, empty, impatient):
    folder = tmp_path / "mounted"
    folder.mkdir()
    file = Path(shutil.copy(empty, folder / "x.sqlite3"))
    with asking_at(file) as desk:
        desk.ask()
        gone = folder.rename(tmp_path / "not mounted")
        assert_away(desk)
        gone.rename(folder)
        assert_back(desk, file)


@contextmanager
def as_nobody():
    """Root may write everywhere; the user nobody may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="the user is one of the whole process there")
def test_a_file_that_may_only_be_read_takes_nothing(empty, impatient):
    with working_folder() as folder:
        folder.chmod(0o777)
        file = Path(shutil.copy(empty, folder / "x.sqlite3"))
        with asking_at(file) as desk:
            desk.ask()
            desk.hand_in()
            assert desk.is_ready
            for path in folder.iterdir():
                path.chmod(0o666)
            desk.gateway.sessions.dispose()
            with as_nobody():
                with root_again():
                    file.chmod(0o444)
                assert_away(desk)
                assert desk.gateway.get("enrollments", desk.gateway.edx).status_code == 200
                with root_again():
                    file.chmod(0o666)
                wait_until(lambda: desk.is_ready)
                assert_back(desk, file)


@contextmanager
def root_again():
    """Changes the owner of the file."""
    before = os.geteuid()
    os.seteuid(os.getuid())
    try:
        yield
    finally:
        os.seteuid(before)
