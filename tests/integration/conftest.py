"""What tests on a database share."""

from collections.abc import Iterator

import pytest
import structlog

from enrollment.storage import migrate
from enrollment.storage.sessions import Sessions, sessions_for
from tests.support.world import World


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
def postgres_world(postgres_url: str) -> Iterator[World]:
    """The same where transactions overlap."""
    migrate.upgrade(postgres_url)
    sessions = sessions_for(postgres_url)
    made = World(sessions)
    yield made
    made.close()
    sessions.dispose()
