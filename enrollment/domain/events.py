"""Events: records of one change of one enrollment each, and the fold of changes to a state."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, NotRequired, TypedDict
from uuid import UUID

from enrollment.domain.codes import ChangeKind, Code
from enrollment.domain.model import Attribute, Enrollment

#: Bits of an event id that hold its position in the batch (`storage.event_ids`).
ORDINAL_BITS = 14
#: Maximum position, and so the maximum number of requests in a batch.
MAX_ORDINAL = (1 << ORDINAL_BITS) - 1


class EnrollmentState(NamedTuple):
    """The state of an enrollment as callers see it: without the precedence of its fields."""

    mode: str
    is_active: bool
    attributes: tuple[Attribute, ...] = ()
    cohort: str | None = None


class Change(NamedTuple):
    """One change of one enrollment; `before` is None where there was no enrollment."""

    #: Index of the request among those that are decided together.
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
    """The stored form of a state; members without a value are left out."""

    mode: str
    is_active: bool
    attributes: NotRequired[list[StoredAttribute]]
    cohort: NotRequired[str]


class RecordedEvent(NamedTuple):
    """An event as read from the database."""

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
    #: Position in the change feed.
    position: int
    #: The id of the HTTP request with which the submission came, as long as that is kept.
    request_id: str | None = None


#: Beginning of the name of a caller that takes over the enrollments of a destination.
IMPORT_CALLER = "destination:"

#: The kind of event of each outcome that changes an enrollment, unless it was imported.
CHANGE_KIND_BY_CODE = {
    Code.ENROLLED: ChangeKind.CREATED,
    Code.REACTIVATED: ChangeKind.REACTIVATED,
    Code.MODE_CHANGED: ChangeKind.MODE_CHANGED,
    Code.DEACTIVATED: ChangeKind.DEACTIVATED,
    Code.UPDATED: ChangeKind.UPDATED,
}


def import_caller(destination: str) -> str:
    """Returns the caller that takes over the enrollments of a destination.

    All its changes are events of kind `imported`, which that destination does not get back.
    """
    return IMPORT_CALLER + destination


def state_of(enrollment: Enrollment) -> EnrollmentState:
    """Returns the state of an enrollment, without the precedence of its fields."""
    mode, is_active, _, _, _, attributes, _, cohort, _ = enrollment
    return tuple.__new__(EnrollmentState, (mode, is_active, attributes, cohort))


def fold_changes(changes: Iterable[Change]) -> dict[tuple[str, str], EnrollmentState]:
    """Folds changes into the final state by (course_id, username).

    Raises ValueError where a change does not start at the state after the previous one.
    """
    state: dict[tuple[str, str], EnrollmentState] = {}
    for change in changes:
        key = (change.course_id, change.username)
        if state.get(key) != change.before:
            message = f"{key} was {state.get(key)}, but the change begins at {change.before}"
            raise ValueError(message)
        state[key] = change.after
    return state
