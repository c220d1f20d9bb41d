"""What tests on a database share."""

from collections.abc import Iterator

import pytest

from enrollment.storage import migrate
from enrollment.storage.sessions import Sessions, sessions_for
from tests.support.world import World


@pytest.fixture
def world(sessions: Sessions) -> World:
    """Ways in, a worker, and the records behind them, on each sort of database in turn."""
    return World(sessions)


@pytest.fixture
def postgres_world(postgres_url: str) -> Iterator[World]:
    """The same where transactions overlap."""
    migrate.upgrade(postgres_url)
    sessions = sessions_for(postgres_url)
    yield World(sessions)
    sessions.dispose()
