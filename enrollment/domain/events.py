"""Events: one change of one enrollment each, and how changes add up to a state."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, NotRequired, TypedDict
from uuid import UUID

from enrollment.domain.codes import ChangeKind, Code
from enrollment.domain.model import Attribute, Enrollment

#: Bits of an event id that hold its place in the batch (``storage.event_ids``).
ORDINAL_BITS = 14
#: The greatest place, so also the greatest number of requests that a batch may hold.
MAX_ORDINAL = (1 << ORDINAL_BITS) - 1


class EnrollmentState(NamedTuple):
    """The state of an enrollment as callers see it: without the precedence of its fields."""

    mode: str
    is_active: bool
    attributes: tuple[Attribute, ...] = ()
    cohort: str | None = None


class Change(NamedTuple):
    """One change of one enrollment; ``before`` is None where there was no record."""

    #: Index of the request among those judged together.
    position: int
    username: str
    course_id: str
    kind: ChangeKind
    before: EnrollmentState | None
    after: EnrollmentState


class StoredAttribute(TypedDict):
    """An attribute in a stored state."""

    namespace: str
    name: str
    value: str


class StoredState(TypedDict):
    """The state of an enrollment at one time; members without a value are left out."""

    mode: str
    is_active: bool
    attributes: NotRequired[list[StoredAttribute]]
    cohort: NotRequired[str]


class RecordedEvent(NamedTuple):
    """An event as it is read back."""

    id: int
    kind: ChangeKind
    course_id: str
    username: str
    #: The time of the commit.
    at: datetime
    submission_id: UUID
    line: int
    #: The caller of the submission.
    caller: str
    #: None where there was no enrollment before.
    before: StoredState | None
    after: StoredState
    #: The place in the change feed.
    position: int


#: The kind of change behind each outcome that changes something.
CHANGE_KIND_BY_CODE = {
    Code.ENROLLED: ChangeKind.CREATED,
    Code.REACTIVATED: ChangeKind.REACTIVATED,
    Code.MODE_CHANGED: ChangeKind.MODE_CHANGED,
    Code.DEACTIVATED: ChangeKind.DEACTIVATED,
    Code.UPDATED: ChangeKind.UPDATED,
}


def state_of(enrollment: Enrollment) -> EnrollmentState:
    """Returns the state of an enrollment, without the precedence of its fields."""
    mode, is_active, _, _, _, attributes, _, cohort, _ = enrollment
    return tuple.__new__(EnrollmentState, (mode, is_active, attributes, cohort))


def fold_changes(changes: Iterable[Change]) -> dict[tuple[str, str], EnrollmentState]:
    """Add up changes, from nothing to the state of each (course, learner).

    Raises ValueError where a change does not begin where the one before it ended.
    """
    state: dict[tuple[str, str], EnrollmentState] = {}
    for change in changes:
        key = (change.course_id, change.username)
        if state.get(key) != change.before:
            message = f"{key} was {state.get(key)}, but the change begins at {change.before}"
            raise ValueError(message)
        state[key] = change.after
    return state
