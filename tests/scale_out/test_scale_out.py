"""Hosts of each kind are cut off and come back: nothing that was accepted is lost or doubled.

`python -m tests.scale_out` does it with the whole term, in several rounds.
"""

import pytest

from tests.scale_out.deployment import deployed
from tests.scale_out.network import missing
from tests.scale_out.run import Run
from tests.scale_out.term import term_in_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: One in so many enrollments of the term.
SHARE = 8
FILES = 24


@pytest.fixture
def deployment(tmp_path):
    if reason := missing():
        pytest.skip(reason)
    with deployed(tmp_path) as running:
        yield running


def test_a_gateway_and_a_worker_are_cut_off_and_come_back(deployment):
    result = Run(deployment, term_in_files(FILES, share=SHARE)).execute(1)

    (cut,) = result.rounds
    assert result.problems == []
    assert cut.held > 0
    assert cut.singles > 0
    assert deployment.network.traffic().cut > 0
    assert all(one.process.poll() is None for one in deployment.running.values())
