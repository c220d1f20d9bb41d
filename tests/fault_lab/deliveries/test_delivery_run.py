"""Requests over the stream, and their changes on every channel, while everything is killed."""

import pytest

from tests.fault_lab.deliveries.delivery_run import SMALL
from tests.fault_lab.deliveries.plans import EVERYTHING
from tests.fault_lab.matrix import Matrix
from tests.fault_lab.report_table import line
from tests.support.service_processes import needs_proc

pytestmark = [
    needs_proc,
    pytest.mark.slow,
    pytest.mark.timeout(240),  # about 60 s on an idle machine
]


def test_messages_and_deliveries_survive_whoever_is_killed(tmp_path):
    with Matrix(tmp_path, seconds=0) as matrix:
        row = matrix.deliveries(EVERYTHING, "postgresql", 1, SMALL)

    assert row.is_good, line(row)
    assert row.accepted == SMALL.requests
