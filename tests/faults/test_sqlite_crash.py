"""The state of SQLite's file after a writer was killed in the middle of a write."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from uuid import UUID

import pytest

from enrollment.storage import migrate
from tests.support.gateway import Gateway
from tests.support.in_process_service import World
from tests.support.outage_client import OutageClient

#: Stores single requests, prints each, and crashes in the middle of a write.
DIES = """
import os, signal, sys
from sqlalchemy import text
from enrollment.storage.engine.sessions import sessions_for
from tests.support.in_process_service import World, request
sessions = sessions_for(sys.argv[1])
world = World(sessions)
world.course()
for number in range(20):
    print(*world.ask(request(f"learner{number}")), flush=True)
with sessions.begin() as session:
    session.execute(text("PRAGMA cache_size = 5"))
    session.execute(text("UPDATE submission SET caller = 'nobody'"))
    for number in range(2000):
        row = {"name": f"half{number}", "value": os.urandom(2000)}
        session.execute(text("INSERT INTO secret VALUES (:name, :value)"), row)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "x.sqlite3"
    migrate.upgrade(f"sqlite:///{made}")
    return made


def rows(file, query):
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


def test_what_a_killed_writer_left_half_done_is_undone_and_what_it_told_is_there(file):
    url = f"sqlite:///{file}"
    died = subprocess.run(
        [sys.executable, "-c", DIES, url], capture_output=True, text=True, check=False
    )
    told = {UUID(word) for word in died.stdout.split()}
    journal = file.with_name(file.name + "-journal")
    assert (died.returncode, len(told)) == (-signal.SIGKILL, 20)
    assert journal.stat().st_size > 0, "nothing was half done"

    gateway = Gateway(url)
    desk = OutageClient(gateway)
    assert journal.stat().st_size == 0
    assert desk.ask().status_code == 202
    desk.settle()
    world = World(gateway.sessions)
    for submission_id in told:
        assert world.codes(submission_id) == ["enrolled"]
    gateway.close()

    assert rows(file, "PRAGMA integrity_check") == [("ok",)]
    assert rows(file, "SELECT count(*) FROM secret") == [(0,)]
    assert rows(file, "SELECT count(*) FROM submission WHERE caller = 'nobody'") == [(0,)]
