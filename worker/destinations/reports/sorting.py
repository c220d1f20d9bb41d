"""Sorts any number of states in bounded memory, with runs in temporary files."""

import heapq
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from operator import attrgetter
from typing import IO

from enrollment.domain.destinations.differences import ComparedState
from worker.destinations.reports.portions import portions

#: States in memory at once while they are sorted; one line of each file while they are merged.
RUN_STATES = 50_000
_KEY = attrgetter("key")


def sorted_states(
    states: Iterable[ComparedState], *, run_states: int = RUN_STATES
) -> Iterator[ComparedState]:
    """Yields states by course and username, in the order of code points, each once.

    Of several states of one enrollment the last counts: pages may overlap while the list changes.
    """
    with ExitStack() as files:
        runs = [
            _read(files.enter_context(_write(sorted(run, key=_KEY))))
            for run in portions(states, run_states)
        ]
        latest: ComparedState | None = None
        for state in heapq.merge(*runs, key=_KEY):
            if latest is not None and latest.key != state.key:
                yield latest
            latest = state
        if latest is not None:
            yield latest


def _write(run: Iterable[ComparedState]) -> IO[str]:
    file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (closed by the caller)
    file.writelines(json.dumps(state) + "\n" for state in run)
    file.seek(0)
    return file


def _read(file: IO[str]) -> Iterator[ComparedState]:
    return (ComparedState(*json.loads(line)) for line in file)
