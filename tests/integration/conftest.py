"""What tests on a database share."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import structlog

from enrollment.storage.engine.sessions import Sessions, sessions_for
from tests.support.credentials import CredentialTester
from tests.support.in_process_service import World
from tests.support.small_gateway import Clock, SmallGateway
from tests.support.statements import recorded_statements


@pytest.fixture(autouse=True, scope="session")
def _plain_logs() -> Iterator[None]:
    """Failures that a test means to happen are told in a line, not in a drawing of a frame."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()]
    )
    yield
    structlog.reset_defaults()


@pytest.fixture
def world(sessions: Sessions) -> Iterator[World]:
    """Ways in, a worker, and the records behind them, on each sort of database in turn."""
    made = World(sessions)
    yield made
    made.close()


@pytest.fixture
def postgres_world(migrated_postgres_url: str) -> Iterator[World]:
    """The same where transactions overlap."""
    sessions = sessions_for(migrated_postgres_url)
    made = World(sessions)
    yield made
    made.close()
    sessions.dispose()


@pytest.fixture
def statements(sessions: Sessions) -> Iterator[list[str]]:
    """The statements that are sent to the database from here on."""
    with recorded_statements(sessions.engine) as seen:
        yield seen


@pytest.fixture
def start_course_gateway(
    sessions: Sessions, redis_url: str
) -> Iterator[Callable[..., SmallGateway]]:
    """Starts processes of a gateway with the course routes alone, all on one clock."""
    clock, started = Clock(), []

    def start(url: str = redis_url) -> SmallGateway:
        started.append(SmallGateway(sessions, url, clock))
        return started[-1]

    yield start
    for gateway in started:
        gateway.close()


@pytest.fixture
def course_gateway(start_course_gateway: Callable[..., SmallGateway]) -> SmallGateway:
    """One of them."""
    return start_course_gateway()


@pytest.fixture
def gate(sessions: Sessions) -> Iterator[CredentialTester]:
    """Authentication, with a signing key that is known."""
    made = CredentialTester(sessions)
    with closing(made.records):
        yield made
