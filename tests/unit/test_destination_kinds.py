"""The kinds that callers may name are those that the worker has a client for."""

from enrollment.domain.destinations.deliveries import DESTINATION_KINDS
from worker.destinations.kinds import KINDS


def test_each_kind_has_a_client():
    assert sorted(KINDS) == sorted(DESTINATION_KINDS)
