"""Crosswalks: ids of other systems and the ids that they stand for here."""

from typing import NamedTuple

from enrollment.domain.codes import IdKind

#: Maximum length of an external id.
MAX_EXTERNAL_ID = 255


class ExternalId(NamedTuple):
    """An id of another system."""

    source: str
    kind: IdKind
    id: str


class CrosswalkEntry(NamedTuple):
    """Maps an external id to a course id or a username here."""

    kind: IdKind
    external_id: str
    local_id: str
