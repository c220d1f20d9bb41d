"""A PostgreSQL that may be stopped, killed and filled, and a client of a gateway on it."""

import psycopg
import pytest
from sqlalchemy.engine import make_url

from api_gateway import database
from enrollment.storage import migrate
from enrollment.storage.engine import engines
from tests.support.gateway import Gateway
from tests.support.outage_client import OutageClient
from tests.support.servers import create_database, drop_database, postgres_process


@pytest.fixture(scope="module")
def server():
    """A server for one file of tests."""
    with postgres_process() as started:
        yield started


@pytest.fixture(scope="module")
def template(server):
    """Tables to copy."""
    url = create_database(server.url)
    migrate.upgrade(url)
    return make_url(url).database


@pytest.fixture
def url(server, template):
    """A database for one test."""
    made = create_database(server.url, template=template)
    yield made
    drop_database(server.url, made)


@pytest.fixture
def start():
    """Starts gateways on a given database."""
    started = []

    def started_at(url, **settings):
        started.append(Gateway(url, **settings))
        return OutageClient(started[-1])

    yield started_at
    for gateway in started:
        gateway.close()


@pytest.fixture
def desk(start, url):
    return start(url)


@pytest.fixture
def other(url):
    """Another session on the same database."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as session:
        yield session


@pytest.fixture
def impatient(monkeypatch):
    """Time-outs that are short enough for a test."""
    monkeypatch.setattr(engines, "LOCK_TIMEOUT_MS", 100)
    monkeypatch.setattr(database, "CALL_TIMEOUT_SECONDS", 0.5)
