"""Which test process runs which tests, where pytest-xdist starts several.

Tests that start whole services mostly wait for them. They run in two groups side by side, each
group one after another, while other test processes keep the cores busy with everything else.
"""

from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

#: Folders whose tests start whole services, in groups that take about the same time.
PROCESS_GROUPS = (
    ("tests/faults/", "tests/fault_lab/", "tests/scale_out/"),
    ("tests/acceptance/", "tests/browser/"),
)
#: Files in these folders that belong to no group: their tests use a core all the time.
UNGROUPED = (
    "tests/acceptance/test_schemathesis.py",
    "tests/fault_lab/deliveries/test_delivery_checks.py",
    "tests/fault_lab/deliveries/test_delivery_simulation.py",
    "tests/fault_lab/test_checker.py",
    "tests/fault_lab/test_history.py",
    "tests/fault_lab/test_simulator.py",
    "tests/faults/test_state_machine.py",
)
#: Folders whose tests are handed out by file: there are fewer messages, and fixtures of a file are
#: set up once. All others are handed out one by one, so that no test process is idle at the end.
_BY_FILE = (
    "tests/installation/",
    "tests/integration/console/",
    "tests/integration/http/",
    "tests/unit/",
)
#: Long tests, which begin before the many short ones.
_LONG = ("tests/acceptance/test_schemathesis.py", "tests/installation/")


class Scheduling(LoadScopeScheduling):
    """Hands out the groups, and then all other tests to whoever is free.

    (xdist groups do not work with pytest 9.2 and xdist 3.8: the group is stored in the node id,
    which can no longer be changed.)
    """

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # the order is that of `sort_for_processes`

    def _split_scope(self, nodeid: str) -> str:
        group = _group_of(nodeid)
        if group < len(PROCESS_GROUPS):
            return f"processes {group}"
        return nodeid.partition("::")[0] if nodeid.startswith(_BY_FILE) else nodeid


def sort_for_processes(items: list[Any]) -> None:
    """Puts the groups first, then what is long; within them the order stays."""
    items.sort(key=lambda item: (_group_of(item.nodeid), not item.nodeid.startswith(_LONG)))


def _group_of(nodeid: str) -> int:
    """Returns the number of its group; that after the last one for tests of no group."""
    if nodeid.startswith(UNGROUPED):
        return len(PROCESS_GROUPS)
    groups = range(len(PROCESS_GROUPS))
    found = (number for number in groups if nodeid.startswith(PROCESS_GROUPS[number]))
    return next(found, len(PROCESS_GROUPS))
