"""Fixtures for databases and servers."""

import logging
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
import structlog
from hypothesis import settings
from sqlalchemy.engine import make_url
from xdist.remote import Producer

from enrollment.storage import migrate
from enrollment.storage.engine.sessions import Sessions, sessions_for
from tests.support import interpreters
from tests.support.binaries import ServerMissing
from tests.support.migrated_databases import migrated_sqlite
from tests.support.scheduling import Scheduling, sort_for_processes
from tests.support.servers import create_database, drop_database, postgres_server, redis_server

#: The test that installs the project on other Pythons.
INTERPRETERS = "test_interpreters.py::test_it_installs"

settings.register_profile("enroll", deadline=None, print_blob=True)  # a busy machine is no bug
settings.load_profile("enroll")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """What decides who runs what."""
    return Scheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In the test processes of pytest-xdist, what takes longest begins first."""
    if hasattr(config, "workerinput"):
        sort_for_processes(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    with _servers_may_be_missing():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    with _servers_may_be_missing():
        return (yield)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command that a test runs in this process configures the logs; others keep theirs."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names the Pythons on which the installation was tried, if it was."""
    outcomes = ("passed", "failed", "skipped")
    reports = (report for name in outcomes for report in terminalreporter.getreports(name))
    if any(INTERPRETERS in report.nodeid for report in reports):
        terminalreporter.write_line(interpreters.availability())


@contextmanager
def _servers_may_be_missing() -> Iterator[None]:
    """A test is left out where its server cannot be had, but never in CI."""
    try:
        yield
    except ServerMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def postgres_base_url() -> Iterator[str]:
    """A PostgreSQL on which databases can be created, one server for each test process."""
    with postgres_server() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_base_url: str) -> Iterator[str]:
    """A fresh and empty PostgreSQL database."""
    url = create_database(postgres_base_url)
    yield url
    drop_database(postgres_base_url, url)


@pytest.fixture(scope="session")
def postgres_template(postgres_base_url: str) -> Iterator[str]:
    """The name of a PostgreSQL database with all tables, to copy: a migration takes longer."""
    url = create_database(postgres_base_url)
    migrate.upgrade(url)
    yield str(make_url(url).database)
    drop_database(postgres_base_url, url)


@pytest.fixture
def migrated_postgres_url(postgres_base_url: str, postgres_template: str) -> Iterator[str]:
    """A fresh PostgreSQL database with all tables."""
    url = create_database(postgres_base_url, template=postgres_template)
    yield url
    drop_database(postgres_base_url, url)


@pytest.fixture(scope="session")
def redis_base_url() -> Iterator[str]:
    """A Redis of this test process: a server of its own, or a database of the named one."""
    with redis_server() as url:
        yield _own_database(url) if os.environ.get("ENROLL_TEST_REDIS_URL") else url


@pytest.fixture
def redis_url(redis_base_url: str) -> str:
    """A real and empty Redis."""
    with redis.Redis.from_url(redis_base_url) as client:
        client.flushdb()
    return redis_base_url


def _own_database(url: str) -> str:
    """Test processes that share a Redis take a database each (it has 16)."""
    number = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return urlsplit(url)._replace(path=f"/{number}").geturl()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty and migrated database, of each sort in turn."""
    if request.param == "sqlite":
        return migrated_sqlite(tmp_path / "enrollment.sqlite3")
    return str(request.getfixturevalue("migrated_postgres_url"))


@pytest.fixture
def sessions(database_url: str) -> Iterator[Sessions]:
    """Sessions of an empty and migrated database, of each sort in turn."""
    made = sessions_for(database_url)
    yield made
    made.dispose()
