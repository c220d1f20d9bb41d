"""Kills processes when their supervisor dies, also if it is killed; standard library only.

    python -I -S parent_death.py run PARENT_PID COMMAND [ARGUMENT …]
    python -I -S parent_death.py guard

`run` sets the parent-death signal (Linux only) and executes the command. `guard` reads lines `+PID`
and `-PID`, which add and remove process groups, and kills the remaining groups when its input
ends: this also kills the children of the children, and works on other systems than Linux. This
is a separate program, because a process with threads must not run code between fork and exec.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Iterable

_PR_SET_PDEATHSIG = 1


def run(parent: int, command: list[str]) -> None:
    """Executes the command in this process, unless the parent has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == parent:  # otherwise it ended before the signal was set
        os.execv(command[0], command)  # noqa: S606 (the supervisor's own command)


def kill_orphaned_groups(lines: Iterable[str]) -> None:
    """Kills every process group that was added and not removed."""
    groups: set[int] = set()
    for line in lines:
        change = groups.add if line.startswith("+") else groups.discard
        change(int(line[1:]))
    for group in groups:
        kill_group(group)


def kill_group(group: int) -> None:
    """Kills the remaining processes of a group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS raises it for a group of zombies
        return


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(int(sys.argv[2]), sys.argv[3:])
    else:
        kill_orphaned_groups(sys.stdin)
