"""Which test process runs which tests."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from xdist.remote import Producer

from tests.support.scheduling import (
    PROCESS_GROUPS,
    UNGROUPED,
    Scheduling,
    sort_for_processes,
)

ROOT = Path(__file__).parents[2]
FIRST, SECOND = "tests/faults/test_a.py::test_1", "tests/acceptance/test_b.py::test_1"
LONG = "tests/installation/test_c.py::test_1"
FILE, SINGLE = "tests/unit/cli/test_d.py", "tests/integration/test_e.py::test_1[sqlite]"


@pytest.fixture
def scheduling():
    option = SimpleNamespace(loadscopereorder=True, dist="load", tx=["2*popen"], numprocesses=2)
    config = SimpleNamespace(option=option, getvalue=lambda name: getattr(option, name))
    return Scheduling(config, Producer("test", enabled=False))


def test_groups_are_of_folders_that_are_there():
    folders = [folder for group in PROCESS_GROUPS for folder in group]

    assert len(set(folders)) == len(folders)
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []
    assert [file for file in UNGROUPED if not (ROOT / file).is_file()] == []
    assert [file for file in UNGROUPED if not file.startswith(tuple(folders))] == []


def test_groups_come_first_then_what_is_long_and_then_the_rest_in_its_order():
    ids = [SINGLE, f"{FILE}::test_2", f"{FILE}::test_1", LONG, SECOND, FIRST]
    items = [SimpleNamespace(nodeid=each) for each in ids]
    sort_for_processes(items)

    sorted_ids = [each.nodeid for each in items]
    assert sorted_ids == [FIRST, SECOND, LONG, SINGLE, f"{FILE}::test_2", f"{FILE}::test_1"]


def test_tests_of_a_group_stay_together_and_others_do_not(scheduling):
    scope = scheduling._split_scope

    assert scope(FIRST) == scope("tests/scale_out/test_f.py::test_1")
    assert scope(FIRST) != scope(SECOND)
    assert scope(f"{FILE}::test_1") == scope(f"{FILE}::test_2[a::b]") == FILE
    assert scope(SINGLE) == SINGLE
    assert scope(f"{UNGROUPED[0]}::test_1") == f"{UNGROUPED[0]}::test_1"
