"""PostgreSQL full, exhausted, read-only, changed while in use: 503, then recovery."""

import os
from contextlib import ExitStack

import psycopg
import pytest
from sqlalchemy.engine import make_url

from enrollment.domain.errors import DatabaseUnavailable
from tests.support.outage_client import assert_unavailable
from tests.support.service_processes import wait_until
from tests.support.small_disk import small_disk


def test_a_server_without_a_connection_to_spare_is_away_until_it_has_one(start, url, server):
    name = make_url(url).database
    with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as administrator:
        administrator.execute("CREATE ROLE clerk LOGIN")
        administrator.execute("GRANT pg_read_all_data, pg_write_all_data TO clerk")
        administrator.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO clerk")
        try:
            desk = start(make_url(url).set(username="clerk").render_as_string())
            administrator.execute("ALTER ROLE clerk CONNECTION LIMIT 0")
            administrator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            for _ in range(5):
                assert_unavailable(desk.ask())
            assert not desk.is_ready
            administrator.execute("ALTER ROLE clerk CONNECTION LIMIT -1")
            assert desk.ask().status_code == 202
            desk.settle()
            desk.gateway.sessions.dispose()
        finally:
            administrator.execute("REASSIGN OWNED BY clerk TO postgres")
            administrator.execute("DROP OWNED BY clerk")
            administrator.execute("DROP ROLE clerk")


def test_who_finds_no_free_connection_in_the_pool_hears_so(desk):
    with ExitStack() as busy:
        for _ in range(desk.gateway.sessions.engine.pool.size()):
            session = busy.enter_context(desk.gateway.sessions.read())
            session.connection()
        assert_unavailable(desk.ask())
        assert not desk.is_ready
    assert desk.ask().status_code == 202
    desk.settle()


def test_a_database_that_only_reads_is_written_to_as_soon_as_it_can_be(desk, other):
    name = other.info.dbname
    other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    desk.gateway.sessions.dispose()
    assert_unavailable(desk.ask())
    assert_unavailable(desk.hand_in())
    assert not desk.is_ready
    assert "is read-only" in desk.gateway.get("/readyz").json["findings"][0]

    other.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    wait_until(lambda: desk.is_ready)
    assert desk.ask().status_code == 202
    desk.settle()


def test_tables_that_are_away_for_a_while_are_nobodys_fault(desk, other):
    desk.ask()
    (waiting,) = desk.gateway.waiting()
    other.execute("ALTER TABLE enrollment RENAME TO somewhere_else")
    with pytest.raises(DatabaseUnavailable):
        desk.gateway.processor.process(waiting.id)
    other.execute("ALTER TABLE somewhere_else RENAME TO enrollment")
    desk.settle()


def test_columns_that_change_under_prepared_statements_cost_no_request(desk, other):
    for _ in range(10):
        assert desk.ask().status_code == 202
        assert desk.gateway.get("enrollments", desk.gateway.edx).status_code == 200
    other.execute("ALTER TABLE submission ALTER COLUMN caller TYPE varchar(300)")
    other.execute("ALTER TABLE enrollment ALTER COLUMN mode TYPE varchar(300)")
    for _ in range(10):
        assert desk.ask().status_code == 202
        assert desk.gateway.get("enrollments", desk.gateway.edx).status_code == 200
    desk.settle()


def test_a_disk_that_is_full_takes_nothing_and_loses_nothing(start, server, template):
    with small_disk(server.folder / "small", megabytes=48) as disk:
        os.chown(disk.folder, server.user(), server.user())
        with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as administrator:
            administrator.execute(f"CREATE TABLESPACE small LOCATION '{disk.folder}'")
            administrator.execute(f"CREATE DATABASE small TEMPLATE {template} TABLESPACE small")
            try:
                desk = start(make_url(server.url).set(database="small").render_as_string())
                desk.hand_in(50)
                with disk.full():
                    for _ in range(200):
                        if desk.hand_in(2000).status_code == 503:
                            break
                    assert desk.refused
                    assert not desk.is_ready
                assert desk.hand_in().status_code == 202
                desk.settle()
            finally:
                desk.gateway.sessions.dispose()
                administrator.execute("DROP DATABASE small WITH (FORCE)")
                administrator.execute("DROP TABLESPACE small")
