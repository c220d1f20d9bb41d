"""Reads memory, CPU time and children of processes from `/proc` (Linux)."""

import os
from collections.abc import Iterable
from pathlib import Path


def megabytes(pids: Iterable[int], kind: str) -> float:
    """Returns the memory of processes: resident now (`VmRSS`) or at the peak (`VmHWM`)."""
    kilobytes = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        kilobytes += next(int(line.split()[1]) for line in lines if line.startswith(kind))
    return kilobytes / 1024


def cpu_seconds(pids: Iterable[int]) -> float:
    """Returns the user and system CPU time of processes."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def with_children(pids: Iterable[int]) -> list[int]:
    """Returns the processes and their children."""
    return [one for pid in pids for one in (pid, *_children(pid))]


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
