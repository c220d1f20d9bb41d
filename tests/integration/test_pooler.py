"""A connection pooler that mixes up prepared statements is found; one that does not is used."""

import pytest
from sqlalchemy import text

from enrollment.domain.errors import NotDurable
from enrollment.storage.engine import durability
from enrollment.storage.engine.sessions import sessions_for
from tests.support.pgbouncer import NEWER, PROGRAMS, RENAMES, pgbouncer, version

needs_pgbouncer = pytest.mark.skipif(not PROGRAMS, reason="there is no pgbouncer here")
#: `tests/servers/fetch.sh` brings one.
needs_a_newer_one = pytest.mark.skipif(
    NEWER is None, reason="there is no pgbouncer here that renames statements"
)
MIXED = "a connection pooler mixes up the prepared statements of its clients"


def messages_at(url):
    sessions = sessions_for(url, pool_size=1)
    with sessions.read() as session:
        facts = durability.load_durability_facts(session, inspects_pooler=True)
    sessions.dispose()
    return {fact.message for fact in facts if fact.level != "ok"}


def test_without_a_pooler_there_is_nothing_to_say_of_one(postgres_url):
    assert not any("pooler" in message for message in messages_at(postgres_url))


@needs_pgbouncer
def test_sessions_of_its_own_for_each_client_are_well(postgres_url):
    with pgbouncer(postgres_url, mode="session") as url:
        assert MIXED not in messages_at(url)


@needs_pgbouncer
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_session_for_several_clients_is_refused_if_statements_keep_their_names(
    postgres_url, program
):
    more = "max_prepared_statements = 0" if version(program) >= RENAMES else ""
    with pgbouncer(postgres_url, mode="transaction", more=more, program=program) as url:
        assert MIXED in messages_at(url)
        sessions = durability.durable_sessions(url, pool_size=1, accepts_loss=False)
        with pytest.raises(NotDurable, match=MIXED), sessions.read() as session:
            session.execute(text("SELECT 1"))
        sessions.dispose()


@needs_a_newer_one
def test_a_session_for_several_clients_is_well_if_statements_are_renamed(postgres_url):
    more = "max_prepared_statements = 200"
    with pgbouncer(postgres_url, mode="transaction", more=more, program=NEWER) as url:
        assert MIXED not in messages_at(url)


@needs_a_newer_one
def test_a_shared_session_keeps_no_limit_of_one_client(postgres_url):
    """A migration or an audit through the same pooler may take longer than a worker."""
    more = "default_pool_size = 1\nmax_prepared_statements = 200"
    with pgbouncer(postgres_url, mode="transaction", more=more, program=NEWER) as url:
        worker = durability.durable_sessions(url, pool_size=1, accepts_loss=True)
        with worker.read() as session:
            session.execute(text("SELECT 1"))
        worker.dispose()
        other = sessions_for(url, pool_size=1)
        with other.read() as session:
            if session.scalar(text("SHOW server_version_num")) < "170000":
                pytest.skip("transaction_timeout is of PostgreSQL 17")
            assert session.scalar(text("SHOW transaction_timeout")) == "0"
        other.dispose()


@needs_pgbouncer
def test_time_limits_that_the_pooler_drops_are_noted(postgres_url):
    with pgbouncer(postgres_url, mode="session") as url:
        assert "the connection pooler drops our time limits" in messages_at(url)
