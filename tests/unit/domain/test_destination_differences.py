"""Differences between two sorted sides, against a comparison of dictionaries."""

from collections.abc import Iterable
from itertools import count, islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollment.domain.destinations.differences import (
    ComparedState,
    Difference,
    DifferenceKind,
    find_differences,
)
from worker.destinations.protocol import DestinationFailure
from worker.destinations.reports import sorting
from worker.destinations.reports.sorting import MAX_RUNS, sorted_states

STATES = st.builds(
    ComparedState,
    st.sampled_from(["course-v1:A+B+C", "course-v1:A+B+C+D", "course-v1:Ä+B+C", "A/B/C"]),
    st.sampled_from(["ada", "ada ", "Ada", "zoë", "\U0001f600", "\uffff", "a"]),
    st.sampled_from(["audit", "verified"]),
    st.booleans(),
)


def latest(states: Iterable[ComparedState]) -> dict[Any, ComparedState]:
    return {each.key: each for each in states}


def expected(here: ComparedState | None, there: ComparedState | None) -> DifferenceKind | None:
    if not (here and here.is_active) and not (there and there.is_active):
        both = here and there and here.mode != there.mode
        return DifferenceKind.OTHER_MODE if both else None
    if there is None:
        return DifferenceKind.MISSING_THERE
    if here is None:
        return DifferenceKind.EXTRA_THERE
    if here.is_active != there.is_active:
        return DifferenceKind.OTHER_ACTIVITY
    return None if here.mode == there.mode else DifferenceKind.OTHER_MODE


@given(st.lists(STATES), st.lists(STATES), st.integers(1, 5))
def test_every_difference_is_found_once(
    ours: list[ComparedState], theirs: list[ComparedState], run: int
) -> None:
    here, there = latest(ours), latest(theirs)
    found = find_differences(
        sorted_states(ours, run_states=run), sorted_states(theirs, run_states=run)
    )
    wanted = {
        key: kind
        for key in {*here, *there}
        if (kind := expected(here.get(key), there.get(key))) is not None
    }
    keys = [(each[1:3], each.kind) for each in found]
    assert keys == sorted(wanted.items())


@given(st.lists(STATES), st.integers(1, 4))
def test_sorted_once_each_and_the_last_counts(states: list[ComparedState], run: int) -> None:
    assert list(sorted_states(states, run_states=run)) == [
        state for _, state in sorted(latest(states).items())
    ]


def test_any_number_of_runs_is_merged() -> None:
    states = [
        ComparedState("c", f"u{n % 150}", "audit" if n < 500 else "verified", is_active=True)
        for n in range(1_000)
    ]
    assert 2 * MAX_RUNS < 1_000 / 3
    assert list(sorted_states(states, run_states=3)) == [
        state for _, state in sorted(latest(states).items())
    ]


def test_states_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "MAX_SORTED_BYTES", 1_000)
    endless = (ComparedState("c", f"u{n}", "audit", is_active=True) for n in count())
    with pytest.raises(DestinationFailure, match="too_many_states"):
        list(sorted_states(endless, run_states=10))


def test_both_sides_are_shown() -> None:
    (found,) = find_differences(
        [ComparedState("c", "u", "audit", is_active=True)],
        [ComparedState("c", "u", "verified", is_active=False)],
    )
    kind = DifferenceKind.OTHER_ACTIVITY
    assert found == Difference(
        kind,
        "c",
        "u",
        mode_here="audit",
        is_active_here=True,
        mode_there="verified",
        is_active_there=False,
    )


def test_sides_without_end_are_read_as_they_come() -> None:
    def endless() -> Iterable[ComparedState]:
        number = 0
        while True:
            number += 1
            yield ComparedState("c", f"u{number:09}", "audit", is_active=True)

    assert len(list(islice(find_differences(endless(), []), 1_000))) == 1_000
