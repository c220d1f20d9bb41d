"""One look at the records: the same to its end, writing nothing and leaving nothing behind."""

import os
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage import migrate
from enrollment.storage.engine.consistent_snapshot import NoSpaceForSnapshot, snapshot
from enrollment.storage.engine.engines import make_engine
from enrollment.storage.engine.sessions import Sessions, sessions_for
from tests.support.breakpoints import Side
from tests.support.in_process_service import World, request

NUMBER = text("SELECT count(*) FROM submission")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where copies are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def file(tmp_path):
    """A database in a file."""
    path = tmp_path / "enrollment.sqlite3"
    migrate.upgrade(f"sqlite:///{path}")
    sessions = sessions_for(f"sqlite:///{path}", pool_size=1)
    yield World(sessions)
    sessions.dispose()


def test_a_look_stays_the_same_while_others_write(world):
    with snapshot(world.sessions) as session:
        before = session.scalar(NUMBER)
        world.ask(request("zoe"))

        assert session.scalar(NUMBER) == before
    with snapshot(world.sessions) as session:
        assert session.scalar(NUMBER) == before + 1


def test_nothing_can_be_written_through_it(world):
    with snapshot(world.sessions) as session, pytest.raises(DBAPIError):
        session.execute(text("DELETE FROM submission"))


def test_writers_wait_until_the_copy_is_made_and_no_longer(file, temporary):
    with file.sessions.begin() as session:
        session.connection()
        look = Side(lambda: look_once(file))
        assert look.is_running
        assert not any(temporary.glob("*/copy.sqlite3-journal"))
    assert look.join() == 0


def look_once(world):
    with snapshot(world.sessions) as session:
        return session.scalar(NUMBER)


def test_the_copy_is_gone_as_soon_as_it_can_be_read(file, temporary):
    with snapshot(file.sessions) as session:
        assert session.scalar(NUMBER) == 0
        assert list(temporary.iterdir()) == []


def test_a_database_in_memory_is_looked_at_as_it_is():
    sessions = Sessions(make_engine("sqlite://"))
    with snapshot(sessions) as session:
        assert session.scalar(text("SELECT 1")) == 1
    sessions.dispose()


def test_a_database_that_is_not_there_is_not_made_by_looking(tmp_path):
    path = tmp_path / "none.sqlite3"
    sessions = sessions_for(f"sqlite:///{path}")

    with pytest.raises(DatabaseUnavailable, match=r"there is no .*none\.sqlite3"):
        look_once(World(sessions))

    assert not path.exists()


def test_a_file_that_is_no_database_does_not_answer(tmp_path, temporary):
    (tmp_path / "odd.sqlite3").write_bytes(b"odd" * 1_000)

    with pytest.raises(DatabaseUnavailable):
        look_once(World(sessions_for(f"sqlite:///{tmp_path / 'odd.sqlite3'}")))

    assert list(temporary.iterdir()) == []


def test_a_broken_page_is_told_as_such(file, temporary, monkeypatch):
    def broken(*_args, **_given):
        raise sqlite3.OperationalError("disk I/O error")

    class Broken(sqlite3.Connection):
        backup = broken

    connect = sqlite3.connect
    monkeypatch.setattr(
        "enrollment.storage.engine.consistent_snapshot.sqlite3.connect",
        lambda *words, **given: connect(*words, **given, factory=Broken),
    )

    with pytest.raises(DatabaseUnavailable, match="I/O"):
        look_once(file)


def test_where_there_is_no_room_it_is_said_how_much_is_needed(file, temporary, monkeypatch):
    usage = shutil.disk_usage(temporary)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4_096))

    with pytest.raises(NoSpaceForSnapshot, match=r"a copy of .* MB is needed.*TMPDIR"):
        look_once(file)

    assert list(temporary.iterdir()) == []


@contextmanager
def small_disk(folder: Path, size: str):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up_meanwhile_is_no_room_either(file, temporary, monkeypatch):
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small disk can be mounted by root only")
    usage = shutil.disk_usage(temporary)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    with small_disk(temporary, "64k"), pytest.raises(NoSpaceForSnapshot):
        look_once(file)
