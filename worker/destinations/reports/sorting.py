"""Sorts any number of states in bounded memory, with runs in temporary files."""

import heapq
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from operator import attrgetter
from typing import IO

from enrollment.domain.destinations.differences import ComparedState
from worker.destinations.protocol import DestinationFailure
from worker.destinations.reports.portions import portions

#: States in memory at once while they are sorted; one line of each file while they are merged.
RUN_STATES = 50_000
#: Files at once: as many are merged into one. Each takes a file descriptor.
MAX_RUNS = 64
#: Bytes of the files of one side: a system that tells more has no end, and would fill the disk.
MAX_SORTED_BYTES = 16 << 30
_KEY = attrgetter("key")


class TooManyStates(DestinationFailure):
    """The states of a system are more than can be compared."""

    def __init__(self) -> None:
        super().__init__("too_many_states", "too_many_states")


def sorted_states(
    states: Iterable[ComparedState], *, run_states: int = RUN_STATES
) -> Iterator[ComparedState]:
    """Yields states by course and username, in the order of code points, each once.

    Of several states of one enrollment the last counts: pages may overlap while the list changes.
    Raises TooManyStates.
    """
    with ExitStack() as files:
        runs: list[IO[str]] = []
        written = 0
        for run in portions(states, run_states):
            runs.append(files.enter_context(_write(sorted(run, key=_KEY))))
            written += runs[-1].seek(0, os.SEEK_END)
            if written > MAX_SORTED_BYTES:
                raise TooManyStates
            if len(runs) == MAX_RUNS:
                whole = files.enter_context(_write(heapq.merge(*map(_read, runs), key=_KEY)))
                for each in runs:
                    each.close()
                runs = [whole]
        latest: ComparedState | None = None
        for state in heapq.merge(*map(_read, runs), key=_KEY):
            if latest is not None and latest.key != state.key:
                yield latest
            latest = state
        if latest is not None:
            yield latest


def _write(run: Iterable[ComparedState]) -> IO[str]:
    file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (closed by the caller)
    file.writelines(json.dumps(state) + "\n" for state in run)
    return file


def _read(file: IO[str]) -> Iterator[ComparedState]:
    file.seek(0)
    return (ComparedState(*json.loads(line)) for line in file)
