"""Ids of other systems, and what they are here."""

from typing import NamedTuple

from enrollment.domain.codes import IdKind

#: Longest id of another system.
MAX_THEIRS = 255


class Theirs(NamedTuple):
    """An id of another system."""

    source: str
    kind: IdKind
    id: str


class Entry(NamedTuple):
    """What one id of a source is here: a course's id, or a learner's username."""

    kind: IdKind
    theirs: str
    ours: str
