"""The stable words that callers see: outcomes, reasons, states, kinds of change."""

from enum import StrEnum


class Code(StrEnum):
    """What became of one request; exactly one of these, for good."""

    ENROLLED = "enrolled"
    REACTIVATED = "reactivated"
    MODE_CHANGED = "mode_changed"
    DEACTIVATED = "deactivated"
    #: Attributes or cohort only.
    UPDATED = "updated"
    #: It was true already.
    UNCHANGED = "unchanged"
    #: A later wish had been heard before.
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    #: The row could not be read.
    INVALID = "invalid"
    CANCELLED = "cancelled"


#: Codes of rows that did not get what they asked for.
FAILURE_CODES = frozenset({Code.REFUSED, Code.INVALID, Code.CANCELLED})


class Reason(StrEnum):
    """Why a request was refused or invalid."""

    COURSE_NOT_FOUND = "course_not_found"
    LEARNER_NOT_FOUND = "learner_not_found"
    ENROLLMENT_NOT_OPEN = "enrollment_not_open"
    ENROLLMENT_CLOSED = "enrollment_closed"
    INVITE_REQUIRED = "invite_required"
    INVITE_USED = "invite_used"
    INVITE_EXPIRED = "invite_expired"
    COURSE_FULL = "course_full"
    MODE_UNAVAILABLE = "mode_unavailable"
    MODE_EXPIRED = "mode_expired"
    MODE_MISMATCH = "mode_mismatch"
    ATTRIBUTES_MISSING = "attributes_missing"
    COHORT_NOT_FOUND = "cohort_not_found"
    NOT_PERMITTED = "not_permitted"
    INVALID_ROW = "invalid_row"
    ABORTED = "aborted"
    INTERNAL_ERROR = "internal_error"


class ChangeKind(StrEnum):
    """What happened to one enrollment; the last word of the event's type."""

    CREATED = "created"
    REACTIVATED = "reactivated"
    MODE_CHANGED = "mode_changed"
    DEACTIVATED = "deactivated"
    UPDATED = "updated"


class Lane(StrEnum):
    """The queue that a batch waits in; a single never waits for a bulk."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


class Kind(StrEnum):
    """Whether a submission is one request or a list."""

    SINGLE = "single"
    BULK = "bulk"


class State(StrEnum):
    """How far a submission is; it never goes back."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


class SubmissionResult(StrEnum):
    """How a finished submission went as a whole."""

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"


class OnError(StrEnum):
    """What a refused or invalid row means to the others of its submission."""

    CONTINUE = "continue"
    ABORT = "abort"


class CallerKind(StrEnum):
    """What sort of caller asked; decided at the gate, kept with the submission."""

    #: A token of an ordinary person: acts for itself alone.
    LEARNER = "learner"
    #: The same where learners may withdraw by themselves (a setting).
    LEAVER = "leaver"
    #: An API key with scope ``enroll``.
    SERVER = "server"
    #: A token with the staff claim.
    STAFF = "staff"
    #: An API key with scope ``admin``.
    ADMIN = "admin"


class IdKind(StrEnum):
    """What an id of another system stands for."""

    COURSE = "course"
    LEARNER = "learner"
