"""The most effective faults against real processes under load, for a few seconds each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault_lab.__main__ import SHORT_SECONDS, SHORT_SHARE
from tests.fault_lab.fault_injectors import FAULTS, Fault
from tests.fault_lab.matrix import Matrix
from tests.fault_lab.report_table import line
from tests.support.service_processes import needs_proc

pytestmark = [
    needs_proc,
    pytest.mark.slow,
    pytest.mark.timeout(240),  # starting, load, healing and checking, on a busy machine
]

#: Grouped by database, so that stacks are shared.
RUNS = sorted(
    ((sort, fault) for fault in FAULTS for sort in fault.short),
    key=lambda run: run[0],
)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    folder: Path = tmp_path_factory.mktemp("faults")
    with Matrix(folder, seconds=SHORT_SECONDS, share=SHORT_SHARE) as running:
        yield running


@pytest.mark.parametrize(
    ("sort", "fault"),
    [pytest.param(sort, fault, id=f"{fault.code}-{fault.__name__}-{sort}") for sort, fault in RUNS],
)
def test_what_was_promised_holds_under(matrix: Matrix, sort: str, fault: type[Fault]) -> None:
    if why := fault.missing():
        pytest.skip(why)

    row = matrix.run(fault, sort, 1)

    assert row.is_good, line(row)
    assert row.witnessed, line(row)
