"""A connection pooler that mixes up prepared statements is found; one that does not is used."""

import pytest
from sqlalchemy import text

from enrollment.domain.errors import NotDurable
from enrollment.storage.engine import durability
from enrollment.storage.engine.sessions import sessions_for
from tests.support.pgbouncer import PROGRAM, pgbouncer, version

needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="there is no pgbouncer here")
#: The first release that renames the statements of its clients.
RENAMES = (1, 21)
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
def test_a_session_for_several_clients_is_refused_if_statements_keep_their_names(postgres_url):
    with pgbouncer(postgres_url, mode="transaction") as url:
        assert MIXED in messages_at(url)
        sessions = durability.durable_sessions(url, pool_size=1, accepts_loss=False)
        with pytest.raises(NotDurable, match=MIXED), sessions.read() as session:
            session.execute(text("SELECT 1"))
        sessions.dispose()


@needs_pgbouncer
@pytest.mark.skipif(PROGRAM is not None and version() < RENAMES, reason="this one renames nothing")
def test_a_session_for_several_clients_is_well_if_statements_are_renamed(postgres_url):
    with pgbouncer(postgres_url, mode="transaction", more="max_prepared_statements = 200") as url:
        assert MIXED not in messages_at(url)


@needs_pgbouncer
def test_time_limits_that_the_pooler_drops_are_noted(postgres_url):
    with pgbouncer(postgres_url, mode="session") as url:
        assert "the connection pooler drops our time limits" in messages_at(url)
