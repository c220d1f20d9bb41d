"""An outage of the database is logged once at its beginning and once at its end."""

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage.engine.sessions import sessions_for


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "later"


@pytest.fixture
def sessions(folder):
    made = sessions_for(f"sqlite:///{folder}/x.sqlite3", pool_size=1)
    yield made
    made.dispose()


def read(sessions, statement="SELECT 1"):
    with sessions.read() as session:
        session.execute(text(statement))


def write(sessions):
    with sessions.begin() as session:
        session.execute(text("CREATE TABLE IF NOT EXISTS t (x)"))


def events_of(logs):
    return [(record["event"], record["log_level"]) for record in logs]


def test_an_outage_is_logged_once_at_each_end(sessions, folder):
    with capture_logs() as logs:
        for attempt in (read, write, read):
            with pytest.raises(DatabaseUnavailable):
                attempt(sessions)
        folder.mkdir()
        write(sessions)
        read(sessions)

    assert events_of(logs) == [
        ("database.unreachable", "error"),
        ("database.reachable_again", "info"),
    ]
    assert "unable to open" in logs[0]["because"]
    assert logs[1]["after_seconds"] >= 0


def test_tables_that_are_missing_are_no_outage(sessions, folder):
    folder.mkdir()
    with capture_logs() as logs, pytest.raises(DatabaseUnavailable):
        read(sessions, "SELECT * FROM absent")

    assert logs == []


def test_a_pool_without_a_free_connection_is_no_outage(sessions, folder):
    folder.mkdir()
    with capture_logs() as logs, sessions.read() as session:
        session.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnavailable):
            read(sessions)

    assert logs == []
