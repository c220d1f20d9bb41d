"""Gateways for tests: shared by a file where names keep tests apart, fresh where they cannot."""

import pytest

from tests.support.gateway import Gateway
from tests.support.migrated_databases import migrated_sqlite
from tests.support.roles import database_with_roles


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def gateway(request, tmp_path_factory):
    """A gateway on each sort of database; tests use names of their own.

    On PostgreSQL gateway and worker have the roles that they have in production.
    """
    if request.param == "sqlite":
        yield from _gateway(tmp_path_factory.mktemp("gateway"))
        return
    base_url = request.getfixturevalue("postgres_base_url")
    with database_with_roles(base_url) as urls:
        made = Gateway(urls.gateway, worker_url=urls.worker)
        yield made
        made.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A gateway on SQLite alone, for what no database decides."""
    yield from _gateway(tmp_path_factory.mktemp("small"))


@pytest.fixture
def alone(database_url):
    """A gateway whose records hold nothing but what this test puts there."""
    made = Gateway(database_url)
    yield made
    made.close()


@pytest.fixture
def start(tmp_path):
    """Starts gateways with other settings, on one SQLite database."""
    url = migrated_sqlite(tmp_path / "x.sqlite3")
    started = []

    def started_with(**settings):
        started.append(Gateway(url, **settings))
        return started[-1]

    yield started_with
    for made in started:
        made.close()


def _gateway(folder):
    made = Gateway(migrated_sqlite(folder / "x.sqlite3"))
    yield made
    made.close()
