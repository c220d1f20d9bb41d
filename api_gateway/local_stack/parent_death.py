"""Ends processes when their supervisor dies, however it dies; standard library only.

    python -I -S parent_death.py run PARENT_PID COMMAND [ARGUMENT …]
    python -I -S parent_death.py guard

`run` becomes the command, which the kernel kills with its parent (Linux). `guard` reads lines
`+PID` and `-PID`, the process groups that live, and kills those that are left when its input ends:
that reaches the children's own children, and works where the kernel does not help. A program of
its own, because nothing may run between fork and exec in a process with threads.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Iterable

_PR_SET_PDEATHSIG = 1


def run(parent: int, command: list[str]) -> None:
    """Become the command, unless the parent is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == parent:  # else it ended before the tie was made
        os.execv(command[0], command)  # noqa: S606 (the supervisor's own command)


def kill_orphaned_groups(lines: Iterable[str]) -> None:
    """Kill every group that was named and not taken back."""
    groups: set[int] = set()
    for line in lines:
        change = groups.add if line.startswith("+") else groups.discard
        change(int(line[1:]))
    for group in groups:
        kill_group(group)


def kill_group(group: int) -> None:
    """End whatever is left of a process group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS says so of a group of zombies
        return


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(int(sys.argv[2]), sys.argv[3:])
    else:
        kill_orphaned_groups(sys.stdin)
