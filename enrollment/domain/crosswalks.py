"""Ids of other systems, and what they are here."""

from typing import NamedTuple

from enrollment.domain.codes import IdKind

#: Longest id of another system.
MAX_EXTERNAL_ID = 255


class ExternalId(NamedTuple):
    """An id of another system."""

    source: str
    kind: IdKind
    id: str


class CrosswalkEntry(NamedTuple):
    """What one id of a source is here: a course's id, or a learner's username."""

    kind: IdKind
    external_id: str
    local_id: str
