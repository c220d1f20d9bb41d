"""A database with several addresses is used through the one that can be written to."""

from sqlalchemy import text
from sqlalchemy.engine import make_url

from enrollment.runtime.server_urls import database_url
from enrollment.storage.engine.sessions import sessions_for


def test_the_first_address_that_answers_is_used(postgres_url):
    there = make_url(postgres_url)
    hosts = f"127.0.0.1:1,{there.host}:{there.port}"
    several = f"postgres://{there.username}@{hosts}/{there.database}"

    sessions = sessions_for(database_url(several), pool_size=1)
    with sessions.read() as session:
        found = session.scalar(text("SELECT current_database()"))
    sessions.dispose()

    assert found == there.database
