"""Gateways for the console, on each sort of database."""

import pytest

from tests.support.console_browser import logged_in
from tests.support.gateway import Gateway
from tests.support.migrated_databases import migrated_sqlite
from tests.support.roles import database_with_roles


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def gateway(request, tmp_path_factory):
    """On PostgreSQL gateway and worker have the roles that they have in production."""
    if request.param == "sqlite":
        url = migrated_sqlite(tmp_path_factory.mktemp("console") / "x.sqlite3")
        made = Gateway(url)
        yield made
        made.close()
        return
    base_url = request.getfixturevalue("postgres_base_url")
    with database_with_roles(base_url) as urls:
        made = Gateway(urls.gateway, worker_url=urls.worker)
        yield made
        made.close()


@pytest.fixture
def small(tmp_path):
    """Starts gateways with other settings, on one SQLite database."""
    url = migrated_sqlite(tmp_path / "x.sqlite3")
    started = []

    def started_with(**settings):
        started.append(Gateway(url, **settings))
        return started[-1]

    yield started_with
    for made in started:
        made.close()


@pytest.fixture
def registrar(gateway):
    """A browser of a registrar, who has an API key."""
    return logged_in(gateway, gateway.key("enroll", "read", name="registrar"))


@pytest.fixture
def admin(gateway):
    """A browser of an operator, whose key may do everything."""
    return logged_in(gateway, gateway.admin)
