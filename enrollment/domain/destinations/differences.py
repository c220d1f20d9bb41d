"""Differences between the enrollments here and in a destination, found in one pass over both."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple


class DifferenceKind(StrEnum):
    """How an enrollment differs; the first that fits."""

    #: Active here, and not known there.
    MISSING_THERE = "missing_there"
    #: Active there, and not known here.
    EXTRA_THERE = "extra_there"
    OTHER_ACTIVITY = "other_activity"
    OTHER_MODE = "other_mode"


#: The differences that sending the state of this service ends.
APPLICABLE = frozenset(
    {
        DifferenceKind.MISSING_THERE,
        DifferenceKind.OTHER_ACTIVITY,
        DifferenceKind.OTHER_MODE,
    }
)


class ComparedState(NamedTuple):
    """The state of an enrollment on one side."""

    course_id: str
    username: str
    mode: str
    is_active: bool

    @property
    def key(self) -> tuple[str, str]:
        """The enrollment; both sides are in the order of it, by code points."""
        return self.course_id, self.username


class Difference(NamedTuple):
    """One enrollment that differs; the members of a side are None where it has none."""

    kind: DifferenceKind
    course_id: str
    username: str
    mode_here: str | None
    is_active_here: bool | None
    mode_there: str | None
    is_active_there: bool | None


def find_differences(
    here: Iterable[ComparedState], there: Iterable[ComparedState]
) -> Iterator[Difference]:
    """Yields what differs, in the order of the sides, which are sorted by key and have it once.

    An inactive enrollment and none are the same: the learner is not enrolled.
    """
    ours, theirs = iter(here), iter(there)
    mine, other = next(ours, None), next(theirs, None)
    while mine is not None or other is not None:
        if other is None or (mine is not None and mine.key < other.key):
            found = _compare(mine, None)
            mine = next(ours, None)
        elif mine is None or other.key < mine.key:
            found = _compare(None, other)
            other = next(theirs, None)
        else:
            found = _compare(mine, other)
            mine, other = next(ours, None), next(theirs, None)
        if found is not None:
            yield found


def _compare(here: ComparedState | None, there: ComparedState | None) -> Difference | None:
    kind = _kind(here, there)
    side = here or there
    if kind is None or side is None:
        return None
    mine = (None, None) if here is None else here[2:]
    theirs = (None, None) if there is None else there[2:]
    return Difference(kind, *side.key, *mine, *theirs)


def _kind(here: ComparedState | None, there: ComparedState | None) -> DifferenceKind | None:
    if here is None or there is None:
        if here is not None and here.is_active:
            return DifferenceKind.MISSING_THERE
        is_extra = there is not None and there.is_active
        return DifferenceKind.EXTRA_THERE if is_extra else None
    if here.is_active != there.is_active:
        return DifferenceKind.OTHER_ACTIVITY
    return DifferenceKind.OTHER_MODE if here.mode != there.mode else None
