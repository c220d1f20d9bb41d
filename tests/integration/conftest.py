"""What tests on a database share."""

import pytest

from enrollment.storage.sessions import Sessions
from tests.support.world import World


@pytest.fixture
def world(sessions: Sessions) -> World:
    """Ways in, a worker, and the records behind them, on each sort of database in turn."""
    return World(sessions)
