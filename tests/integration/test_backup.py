"""The backups of docs/operations.md, restored: the records are the same, whole, and go on."""

import os
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url

from api_gateway.audit.verify import verify
from enrollment.storage import migrate
from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.tables import Base
from tests.support.binaries import postgres_programs
from tests.support.in_process_service import COURSE, World, request, row
from tests.support.servers import create_database, drop_database

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def fill(world):
    """Stores singles, a file, and work that still waits."""
    world.batch_rows = 2
    world.course(COURSE, capacity=20)
    world.ask(request("ada"), request("bob"), request("eve", "course-v1:No+Such+Course"))
    world.send([row("ada", is_active=False), row("cat"), row("dan")])
    world.work()
    world.send([row("kim"), row("leo"), row("max")])


def counts(sessions):
    with sessions.read() as session:
        return {
            name: session.scalar(select(func.count()).select_from(table))
            for name, table in Base.metadata.tables.items()
        }


def go_on(url, before):
    """Checks restored records, and does the work that waited when they were saved."""
    restored = sessions_for(url)
    world = World(restored)
    try:
        assert migrate.pending(url) == []
        assert counts(restored) == before
        assert not verify(restored).counts
        world.work()
        assert not world.waiting()
        world.ask(request("zoe"))
        world.work()
        world.check()
    finally:
        world.close()
        restored.dispose()


def commands(heading):
    """The commands of a section, without prompts."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    lines = re.sub(r"\\\n\s*", "", "".join(blocks)).splitlines()
    return [line.removeprefix("$ ") for line in lines]


@pytest.fixture
def empty_url(postgres_base_url):
    url = create_database(postgres_base_url)
    yield url
    drop_database(postgres_base_url, url)


def test_a_dump_of_postgresql_is_restored(postgres_url, empty_url, tmp_path):
    """The commands are those of the page, with this server's address."""
    migrate.upgrade(postgres_url)
    sessions = sessions_for(postgres_url)
    world = World(sessions)
    fill(world)
    before = counts(sessions)
    world.close()
    sessions.dispose()

    dump, restore = (
        line for line in commands("Backup") if line.startswith(("pg_dump ", "pg_restore "))
    )
    for line, url in ((dump, postgres_url), (restore, empty_url)):
        address = make_url(url)
        words = line.replace("enroll.dump", str(tmp_path / "enroll.dump")).split()
        words = [
            address.database if word in {"enroll", "enroll_restored"} else word for word in words
        ]
        names = [
            "--host",
            address.host,
            "--port",
            str(address.port),
            "--username",
            address.username,
        ]
        program = postgres_programs() / words[0]
        subprocess.run([program, *names, *words[1:]], env={"PATH": os.environ["PATH"]}, check=True)

    go_on(empty_url, before)


def test_a_copy_of_sqlite_is_restored(tmp_path):
    """While the service writes; the statement is that of the page."""
    url = f"sqlite:///{tmp_path / 'enrollment.sqlite3'}"
    migrate.upgrade(url)
    sessions = sessions_for(url)
    world = World(sessions)
    fill(world)
    before = counts(sessions)
    (statement,) = {
        found for line in commands("Backup") for found in re.findall(r"VACUUM INTO '[^']+'", line)
    }
    copy = tmp_path / "copy.sqlite3"
    with sessions.read() as reading:
        reading.execute(text("SELECT 1"))
        connection = sqlite3.connect(tmp_path / "enrollment.sqlite3")
        connection.execute(statement.replace("backup.sqlite3", str(copy)))
        connection.close()
    world.close()
    sessions.dispose()

    go_on(f"sqlite:///{copy}", before)
