"""A database that can lose commits is not used, and is used again when it is mended."""

import sqlite3
from contextlib import closing, contextmanager

import psycopg
import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs

from enrollment.domain.errors import DatabaseUnavailable, NotDurable
from enrollment.storage import migrate
from enrollment.storage.engine import durability
from enrollment.storage.engine.durability import (
    CHECK_INTERVAL,
    check_at_start,
    check_on_connect,
    durable_sessions,
)
from enrollment.storage.engine.sessions import Sessions, sessions_for

#: What the tests' server does without, so that they are quick.
OF_THE_SERVER = ("fsync", "full_page_writes")


@pytest.fixture
def forgiving(monkeypatch):
    """The settings of the tests' own server are passed over, all others are not."""
    found = durability._postgresql_facts

    def kept(*how):
        return (fact for fact in found(*how) if not fact.message.startswith(OF_THE_SERVER))

    monkeypatch.setattr(durability, "_postgresql_facts", kept)


@contextmanager
def opened(url, **how):
    sessions = durable_sessions(url, pool_size=1, **{"accepts_loss": False} | how)
    try:
        yield sessions
    finally:
        sessions.dispose()


def administer(url, statement):
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(statement.format(name=make_url(url).database))


def ask(sessions):
    with sessions.read() as session:
        return session.scalar(text("SELECT 1"))


def found_in(sessions):
    with sessions.read() as session:
        return durability.load_durability_facts(session)


# --- PostgreSQL -----------------------------------------------------------------------------


def test_a_server_that_does_not_flush_is_not_used(postgres_url):
    with opened(postgres_url) as sessions:
        with pytest.raises(NotDurable, match=r"fsync is off.*full_page_writes is off"):
            ask(sessions)
        with pytest.raises(NotDurable), sessions.begin() as session:
            session.execute(text("CREATE TABLE x (i int)"))


def test_a_server_that_does_not_flush_is_used_where_loss_is_accepted(postgres_url):
    with opened(postgres_url, accepts_loss=True) as sessions:
        assert ask(sessions) == 1
        assert len(durability.data_loss_messages(found_in(sessions))) == 2


@pytest.mark.parametrize("level", ["local", "remote_write", "on", "remote_apply"])
@pytest.mark.usefixtures("forgiving")
def test_a_commit_that_is_flushed_here_is_enough(postgres_url, level):
    administer(postgres_url, f'ALTER DATABASE "{{name}}" SET synchronous_commit = {level}')
    with opened(postgres_url) as sessions:
        assert ask(sessions) == 1


@pytest.mark.usefixtures("forgiving")
def test_what_a_database_sets_for_itself_counts_and_mends_by_itself(postgres_url):
    administer(postgres_url, 'ALTER DATABASE "{name}" SET synchronous_commit = off')
    with opened(postgres_url) as sessions:
        with pytest.raises(
            NotDurable, match="synchronous_commit is off: set synchronous_commit=on"
        ):
            ask(sessions)
        administer(postgres_url, 'ALTER DATABASE "{name}" RESET synchronous_commit')
        assert ask(sessions) == 1


@pytest.mark.usefixtures("forgiving")
def test_what_a_role_sets_for_itself_counts(postgres_url):
    administer(postgres_url, "CREATE ROLE hasty LOGIN")
    try:
        administer(postgres_url, "ALTER ROLE hasty SET synchronous_commit = off")
        hasty = make_url(postgres_url).set(username="hasty").render_as_string()
        with opened(hasty) as sessions, pytest.raises(NotDurable, match="synchronous_commit"):
            ask(sessions)
    finally:
        administer(postgres_url, "DROP ROLE hasty")


@pytest.mark.usefixtures("forgiving")
def test_a_table_that_a_crash_empties_is_found(postgres_url):
    migrate.upgrade(postgres_url)
    administer(postgres_url, "ALTER TABLE secret SET UNLOGGED")
    with opened(postgres_url) as sessions, pytest.raises(NotDurable, match="secret"):
        ask(sessions)


@pytest.mark.usefixtures("forgiving")
def test_a_database_that_only_reads_is_told_and_loses_nothing(postgres_url):
    administer(postgres_url, 'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    with opened(postgres_url) as sessions:
        found = found_in(sessions)
        with pytest.raises(DatabaseUnavailable), sessions.begin() as session:
            session.execute(text("CREATE TABLE x (i int)"))
        administer(postgres_url, 'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        with sessions.begin() as session:
            session.execute(text("CREATE TABLE x (i int)"))

    assert "is read-only" in durability.cannot_write(found)
    assert durability.data_loss_messages(found) == []


@pytest.mark.usefixtures("forgiving")
def test_a_connection_is_looked_at_again_after_a_while(postgres_url):
    now = [1000.0]
    sessions = sessions_for(postgres_url, pool_size=1)
    check_on_connect(sessions.engine, monotonic=lambda: now[0])
    statements = []

    @event.listens_for(sessions.engine, "checkout")
    def turn_off(connection, _record, _proxy):
        connection.execute("SET synchronous_commit = off")
        connection.commit()
        statements.append(connection)

    assert ask(sessions) == 1
    now[0] += CHECK_INTERVAL / 2
    assert ask(sessions) == 1
    now[0] += CHECK_INTERVAL / 2
    with pytest.raises(NotDurable):
        ask(sessions)
    assert ask(sessions) == 1
    assert statements[0] is statements[1] is not statements[2]
    sessions.dispose()


# --- SQLite ---------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    return tmp_path / "x.sqlite3"


@contextmanager
def in_wal_mode(file):
    """Somebody has the file open in the mode that is not for every release."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        assert other.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
        other.execute("CREATE TABLE IF NOT EXISTS t (x)")
        yield other


def test_our_own_connections_are_durable(file):
    with opened(f"sqlite:///{file}") as sessions:
        (fact,) = found_in(sessions)

    assert fact.level == "ok"
    assert "synchronous=2, journal_mode=truncate" in fact.message


def test_a_file_that_nobody_else_has_open_leaves_wal_mode(file):
    with in_wal_mode(file):
        pass
    with opened(f"sqlite:///{file}") as sessions:
        assert "journal_mode=truncate" in found_in(sessions)[0].message


@pytest.mark.parametrize("version", ["3.40.1", "3.51.3"])
def test_a_file_that_is_kept_in_wal_mode_is_used_only_where_that_is_sound(
    file, monkeypatch, version
):
    monkeypatch.setattr(durability, "wal_is_sound", lambda _: version == "3.51.3")
    with opened(f"sqlite:///{file}") as sessions:
        with in_wal_mode(file):
            if version == "3.51.3":
                assert ask(sessions) == 1
            else:
                with pytest.raises(NotDurable, match="journal_mode=wal"):
                    ask(sessions)
        sessions.dispose()
        assert ask(sessions) == 1


def test_a_mode_that_was_changed_under_an_open_connection_is_seen(file):
    with opened(f"sqlite:///{file}", accepts_loss=True) as sessions:
        ask(sessions)
        with in_wal_mode(file):
            assert "journal_mode=wal" in found_in(sessions)[0].message


def test_a_database_in_memory_ends_with_its_process():
    with opened("sqlite://") as sessions, pytest.raises(NotDurable, match="name a file"):
        ask(sessions)


def test_a_file_in_memory_does_not_outlive_the_machine(file, monkeypatch):
    monkeypatch.setattr(durability, "filesystem_of", lambda _: "tmpfs")
    with opened(f"sqlite:///{file}") as sessions, pytest.raises(NotDurable, match="tmpfs"):
        ask(sessions)


def test_a_file_on_another_machine_is_doubtful(file, monkeypatch):
    monkeypatch.setattr(durability, "filesystem_of", lambda _: "nfs4")
    with opened(f"sqlite:///{file}") as sessions:
        assert [fact.level for fact in found_in(sessions)] == ["ok", "note"]
        with capture_logs() as logs:
            check_at_start(sessions)

    assert [record["event"] for record in logs] == ["records.doubtful"]


@pytest.mark.parametrize(
    ("pragma", "says"),
    [("synchronous=NORMAL", "synchronous=1"), ("journal_mode=OFF", "journal_mode=off")],
)
def test_what_somebody_sets_on_the_connection_is_seen(file, pragma, says):
    engine = create_engine(f"sqlite:///{file}")
    event.listen(engine, "connect", lambda one, _: one.execute(f"PRAGMA {pragma}").close())
    check_on_connect(engine)
    with pytest.raises(NotDurable, match=says):
        ask(Sessions(engine))
    engine.dispose()


# --- at the start -----------------------------------------------------------------------------


def test_at_its_start_a_process_says_what_it_refuses(postgres_url):
    with opened(postgres_url) as sessions, capture_logs() as logs, pytest.raises(NotDurable):
        check_at_start(sessions)

    assert [(record["event"], record["log_level"]) for record in logs] == [
        ("records.not_durable", "critical")
    ]
    assert "fsync is off" in logs[0]["because"]
    assert "ENROLL_ACCEPT_DATA_LOSS=true" in logs[0]["advice"]


def test_at_its_start_a_process_says_what_it_was_told_to_accept(postgres_url):
    with opened(postgres_url, accepts_loss=True) as sessions, capture_logs() as logs:
        check_at_start(sessions)

    assert [(record["event"], record["log_level"]) for record in logs] == [
        ("records.not_durable", "error")
    ] * 2


def test_a_database_that_is_away_is_judged_when_it_answers():
    with (
        opened("postgresql+psycopg://nobody@127.0.0.1:1/x") as sessions,
        capture_logs() as logs,
    ):
        check_at_start(sessions)

    assert [record["event"] for record in logs] == ["database.unreachable", "records.unreachable"]
