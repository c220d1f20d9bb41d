"""The roles of PostgreSQL: each process may do its work, and nothing else."""

import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from enrollment.domain.errors import EnrollmentError
from enrollment.runtime.failpoints import arm
from enrollment.storage import migrate
from enrollment.storage.credentials.roles import PRIVILEGES
from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.tables import Base
from tests.support.gateway import Gateway
from tests.support.maintenance_env import MaintenanceEnv
from tests.support.roles import create_roles, database_with_roles

REFUSED = re.compile("permission denied|must be owner")
WRITES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")


@pytest.fixture(scope="module")
def urls(postgres_base_url):
    with database_with_roles(postgres_base_url) as made:
        yield made


@pytest.fixture(scope="module")
def gateway(urls):
    made = Gateway(urls.gateway, worker_url=urls.worker)
    yield made
    made.close()


def may(url, table, privilege):
    sessions = sessions_for(url)
    try:
        with sessions.read() as session:
            ask = text("SELECT has_any_column_privilege(CAST(:table AS text), :privilege)")
            if privilege in {"DELETE", "TRUNCATE"}:
                ask = text("SELECT has_table_privilege(CAST(:table AS text), :privilege)")
            return session.scalar(ask, {"table": table, "privilege": privilege})
    finally:
        sessions.dispose()


def refusal(url, statement):
    sessions = sessions_for(url)
    try:
        with (
            pytest.raises((EnrollmentError, ProgrammingError)) as refused,
            sessions.begin() as session,
        ):
            session.execute(text(statement))
        return str(refused.value)
    finally:
        sessions.dispose()


def test_every_table_is_decided_about():
    assert set(PRIVILEGES) == {*Base.metadata.tables, "alembic_version"}


@pytest.mark.parametrize("table", ["enrollment", "event", "feed"])
def test_a_gateway_can_only_read_what_workers_decide(urls, table):
    assert may(urls.gateway, table, "SELECT")
    assert [each for each in WRITES if may(urls.gateway, table, each)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE enrollment SET mode = 'verified'",
        "INSERT INTO enrollment SELECT * FROM enrollment",
        "DELETE FROM enrollment",
        "DELETE FROM event",
        "UPDATE event SET kind = kind",
        "INSERT INTO feed (last, first, batch_id) VALUES (1, 1, 1)",
        "UPDATE feed SET first = 0",
        "TRUNCATE enrollment",
        "DROP TABLE enrollment",
        "ALTER TABLE api_key ADD COLUMN x integer",
        "CREATE TABLE x (y integer)",
        "DELETE FROM api_key",
        "UPDATE alembic_version SET version_num = '0'",
        "UPDATE installation SET id = gen_random_uuid()",
        "INSERT INTO installation (id) VALUES (gen_random_uuid())",
        "SET ROLE enroll_migrator",
        "COPY course TO PROGRAM 'true'",
        "CREATE ROLE x",
    ],
)
def test_a_gateway_is_refused(urls, statement):
    assert REFUSED.search(refusal(urls.gateway, statement))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM oauth_client",
        "INSERT INTO api_key (name, digest, scopes, created) VALUES ('x', '', '[]', now())",
        "UPDATE api_key SET scopes = '[\"admin\"]'",
        "DELETE FROM api_key",
        "SELECT * FROM secret",
        "UPDATE installation SET signing_kid = NULL",
        "UPDATE event SET kind = kind",
        "DELETE FROM event",
        "DELETE FROM enrollment",
        "UPDATE course SET capacity = 1000",
        "UPDATE idempotency SET created = created",
        "TRUNCATE batch",
        "DROP TABLE batch",
        "CREATE TABLE x (y integer)",
        "COPY course TO PROGRAM 'true'",
    ],
)
def test_a_worker_is_refused(urls, statement):
    assert REFUSED.search(refusal(urls.worker, statement))


def test_a_batch_that_fails_is_searched_and_the_rest_is_processed(gateway):
    course_id = gateway.course()
    arm("work.judging=raise@^poison")
    try:
        rows = "\n".join(f"{user},{course_id}" for user in ("ada", "poison", "eve"))
        status = gateway.submit(f"user,course_id\n{rows}\n").json
    finally:
        arm("")

    assert (status["state"], status["counts"]["enrolled"]) == ("done", 2)
    assert status["counts"]["invalid"] == 1


def test_what_is_over_is_purged_and_what_is_overdue_is_dispatched(gateway):
    course_id = gateway.course()
    gateway.enroll(gateway.admin, course_id, "ada", headers={"Idempotency-Key": "purged"})
    done = gateway.submit(f"user,course_id\neve,{course_id}\n").json
    upkeep = MaintenanceEnv(
        SimpleNamespace(sessions=gateway.worker_sessions), retention=timedelta(0)
    )

    upkeep.sweep()
    upkeep.purge_all()

    assert gateway.get(f"submissions/{done['submission_id']}", gateway.admin).status_code == 404
    with gateway.sessions.read() as session:
        assert session.scalar(text("SELECT count(*) FROM idempotency")) == 0
        assert session.scalar(text("SELECT count(*) FROM event")) >= 2


def test_the_probe_of_the_health_check_may_write(gateway):
    gateway.sessions.was_refused = True

    assert gateway.get("/readyz").json["database"] == "ok"
    assert not gateway.sessions.was_refused


def test_tables_of_before_get_their_roles_and_an_upgrade_again_changes_nothing(
    postgres_url,
):
    migrate.upgrade(postgres_url)  # one superuser for everything, as in the first releases

    urls = create_roles(postgres_url)
    for _ in range(2):
        migrate.upgrade(urls.migrator)
        assert may(urls.gateway, "submission", "INSERT")
        assert not may(urls.gateway, "enrollment", "UPDATE")
        assert may(urls.worker, "enrollment", "UPDATE")
    migrate.downgrade(urls.migrator, "0005")
    migrate.upgrade(urls.migrator)
    gateway = Gateway(urls.gateway, worker_url=urls.worker)
    try:
        assert gateway.enroll(gateway.admin, gateway.course(), "ada").json["is_active"] is True
    finally:
        gateway.close()


def test_an_upgrade_as_a_gateway_that_has_nothing_to_do_grants_nothing(urls):
    migrate.upgrade(urls.gateway)

    assert not may(urls.gateway, "enrollment", "UPDATE")
