"""The tables as migrations make them are the tables that the code expects."""

import shutil
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select, text
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage import migrate
from enrollment.storage.engine.sessions import Sessions, sessions_for
from enrollment.storage.tables import Base, EditionRow, MaintenanceRow


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/a%20b.sqlite3"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def sessions(url):
    made = sessions_for(url)
    yield made
    made.dispose()


def tables(sessions: Sessions) -> set[str]:
    with sessions.read() as session:
        return set(inspect(session.connection()).get_table_names())


def differences(session: Session) -> list[object]:
    context = MigrationContext.configure(
        session.connection(), opts={"compare_server_default": True}
    )
    return list(compare_metadata(context, Base.metadata))


def test_the_migrations_make_what_the_classes_say(url, sessions):
    migrate.upgrade(url)

    with sessions.read() as session:
        assert differences(session) == []
        assert migrate.defect(session) == ""
        assert migrate.current(session) == migrate.head()
    assert migrate.pending(url) == []


def test_all_can_be_taken_back_and_done_again(url, sessions):
    migrate.upgrade(url)
    migrate.downgrade(url, "base")

    assert tables(sessions) == {"alembic_version"}
    assert migrate.head() in migrate.pending(url)

    migrate.upgrade(url)
    with sessions.read() as session:
        assert differences(session) == []


def test_an_empty_database_lacks_everything(url, sessions):
    with sessions.read() as session:
        assert "lacks migrations" in migrate.defect(session)
        assert migrate.current(session) is None
    assert migrate.pending(url)[0] == "0001"


def test_the_rows_that_exist_once_are_there(url, sessions):
    migrate.upgrade(url)

    with sessions.read() as session:
        tasks = session.execute(select(MaintenanceRow.name, MaintenanceRow.turn)).all()
        editions = session.execute(select(EditionRow.name, EditionRow.number)).all()
    assert [tuple(row) for row in tasks] == [("purge", 0)]
    assert [tuple(row) for row in editions] == [("courses", 1)]


def feed_head(sessions):
    with sessions.read() as session:
        return [tuple(row) for row in session.execute(text("SELECT id, position FROM feed_head"))]


@pytest.mark.parametrize("lasts", [(), (2, 7)])
def test_the_earlier_release_finds_its_counter_at_the_end_of_the_feed(url, sessions, lasts):
    migrate.upgrade(url)
    with sessions.begin() as session:
        for last in lasts:
            span = {"last": last, "first": last - 1, "batch": last}
            session.execute(text("INSERT INTO feed VALUES (:last, :first, :batch)"), span)

    migrate.downgrade(url, "0003")

    assert feed_head(sessions) == [(1, max(lasts, default=0))]
    migrate.upgrade(url)
    assert "feed_head" not in tables(sessions)


def test_an_index_that_was_built_beforehand_is_kept(url, sessions):
    migrate.upgrade(url, "0003")
    with sessions.begin() as session:
        session.execute(
            text(
                "CREATE INDEX ix_submission_unpublished ON submission (received_at)"
                " WHERE published_at IS NULL"
            )
        )

    migrate.upgrade(url)

    with sessions.read() as session:
        assert differences(session) == []


def test_several_upgrades_at_once_end_as_one(url, sessions):
    failures = []

    def upgrade():
        try:
            migrate.upgrade(url)
        except Exception as error:  # noqa: BLE001 (whatever it is, the test must see it)
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    with sessions.read() as session:
        assert migrate.defect(session) == ""


@pytest.fixture
def later(url, sessions):
    """The tables of a later release."""
    migrate.upgrade(url)
    with sessions.begin() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize(
    "use",
    [
        lambda url, _: migrate.upgrade(url),
        lambda url, _: migrate.downgrade(url, "0001"),
        lambda url, _: migrate.pending(url),
        lambda _, sessions: migrate.check_at_start(sessions),
    ],
    ids=["upgrade", "downgrade", "pending", "start"],
)
def test_the_tables_of_a_later_release_are_refused(url, sessions, use):
    with pytest.raises(migrate.LaterRelease, match="later release: its tables are at 9999"):
        use(url, sessions)

    with sessions.read() as session:
        assert "later release" in migrate.defect(session)
        assert migrate.current(session) == "9999"


def test_tables_that_lack_migrations_are_said_at_the_start_and_waited_for(url, sessions):
    with capture_logs() as logs:
        migrate.check_at_start(sessions)
    assert [entry["event"] for entry in logs] == ["records.not_migrated"]

    migrate.upgrade(url)
    with capture_logs() as logs:
        migrate.check_at_start(sessions)
    assert logs == []


def test_an_unknown_version_cannot_be_gone_back_to(url):
    migrate.upgrade(url)

    with pytest.raises(migrate.UnknownRevision, match="nowhere"):
        migrate.downgrade(url, "nowhere")


def test_a_database_that_is_away_is_said_to_be():
    away = "postgresql+psycopg://nobody@127.0.0.1:1/none"

    with pytest.raises(DatabaseUnavailable):
        migrate.upgrade(away)
    with pytest.raises(DatabaseUnavailable):
        migrate.pending(away)


def test_packed_values_are_not_packed_again(postgres_url):
    migrate.upgrade(postgres_url)

    found = sessions_for(postgres_url)
    with found.read() as session:
        storage = session.execute(
            text(
                "SELECT attname, attstorage::text FROM pg_attribute "
                "WHERE attrelid = 'batch'::regclass AND attname IN ('payload', 'outcomes')"
            )
        ).all()
    found.dispose()
    assert {tuple(row) for row in storage} == {("payload", "e"), ("outcomes", "e")}


def test_a_draft_of_the_next_version_holds_what_the_database_lacks(tmp_path, monkeypatch):
    versions = tmp_path / "migrations"
    copy_of_scripts(versions)
    monkeypatch.setattr(migrate, "_FOLDER", versions)
    url = f"sqlite:///{tmp_path}/x.sqlite3"
    migrate.upgrade(url)
    made = sessions_for(url)
    with made.begin() as session:
        session.execute(text("DROP INDEX ix_submission_finished_at"))
    made.dispose()

    (path,) = migrate.draft(url, "find by time")

    assert path.endswith(f"{int(migrate.head()) + 1:04d}_find_by_time.py")
    assert "ix_submission_finished_at" in Path(path).read_text()


def copy_of_scripts(target):
    shutil.copytree(migrate._FOLDER, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
