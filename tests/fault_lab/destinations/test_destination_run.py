"""A destination ends in the same state although everything on the way is killed."""

import json
from pathlib import Path

import pytest

from tests.fault_lab.destinations.samples import small
from tests.fault_lab.destinations.two_instances import FEW, run_on_two_instances
from tests.fault_lab.report_table import line
from tests.support.service_processes import needs_proc

pytestmark = [
    needs_proc,
    pytest.mark.slow,
    pytest.mark.timeout(240),  # about 60 s on an idle machine
]

LEARNERS = 150


def test_both_end_equal_whoever_is_killed(tmp_path):
    row = run_on_two_instances(tmp_path, "postgresql", small(LEARNERS), FEW)

    assert row.is_good, line(row)
    figures = json.loads((Path(row.kept) / "figures.json").read_text())
    assert figures["enrollments"] == 2 * LEARNERS
    assert figures["changes"] == 2 * LEARNERS * 5 // 3
