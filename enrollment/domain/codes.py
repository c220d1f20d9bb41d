"""Stable codes that callers see: outcomes, reasons, states, kinds of change."""

from enum import StrEnum


class Code(StrEnum):
    """The outcome of one request; it is final."""

    ENROLLED = "enrolled"
    REACTIVATED = "reactivated"
    MODE_CHANGED = "mode_changed"
    DEACTIVATED = "deactivated"
    #: Attributes or cohort only.
    UPDATED = "updated"
    #: The enrollment already was as requested.
    UNCHANGED = "unchanged"
    #: A change of higher precedence was applied before.
    SUPERSEDED = "superseded"
    #: The row asks for nothing here: a teacher's row, a record that is not current.
    SKIPPED = "skipped"
    REFUSED = "refused"
    #: The row could not be parsed or processed.
    INVALID = "invalid"
    CANCELLED = "cancelled"


#: Codes of requests that failed.
FAILURE_CODES = frozenset({Code.REFUSED, Code.INVALID, Code.CANCELLED})


#: Codes of requests that neither changed nor confirmed an enrollment.
NO_EFFECT_CODES = FAILURE_CODES | {Code.SKIPPED}


class Reason(StrEnum):
    """Why a request was refused, invalid or skipped, or left an enrollment unchanged."""

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
    #: Of `skipped`: the row is about a teacher, an assistant, an observer, ….
    ROLE_NOT_LEARNER = "role_not_learner"
    #: Of `skipped`: a status of the format that means neither enrollment nor withdrawal.
    STATUS_NOT_APPLICABLE = "status_not_applicable"
    #: Of `skipped`: the record has ended by its own date, or has yet to begin.
    NOT_CURRENT = "not_current"
    #: Of `unchanged`: the record ended, and another one of the file keeps the learner.
    KEPT_BY_OTHER_RECORD = "kept_by_other_record"


class ChangeKind(StrEnum):
    """The kind of change of one enrollment; the last part of the event's type."""

    CREATED = "created"
    REACTIVATED = "reactivated"
    MODE_CHANGED = "mode_changed"
    DEACTIVATED = "deactivated"
    UPDATED = "updated"
    #: Any of these changes, taken over from a destination.
    IMPORTED = "imported"


class DeliveryState(StrEnum):
    """The state of a delivery to another system."""

    PENDING = "pending"
    DELIVERED = "delivered"
    #: It was refused for good, or the last attempt failed.
    FAILED = "failed"


class Lane(StrEnum):
    """The queue of a batch; separate queues, so that no single request waits for a bulk job."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


class Kind(StrEnum):
    """Whether a submission is one request or a list of requests."""

    SINGLE = "single"
    BULK = "bulk"


class State(StrEnum):
    """The processing state of a submission; it never goes back."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


class SubmissionResult(StrEnum):
    """The overall result of a finished submission."""

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"


class OnError(StrEnum):
    """Whether a failed request aborts the other requests of its submission."""

    CONTINUE = "continue"
    ABORT = "abort"


class CallerKind(StrEnum):
    """The kind of caller; decided by the gateway, stored with the submission."""

    #: A token without the staff claim: may change its own enrollments only.
    LEARNER = "learner"
    #: The same, with the setting `ENROLL_SELF_UNENROLL`: may also withdraw.
    LEAVER = "leaver"
    #: An API key with scope `enroll`.
    SERVER = "server"
    #: A token with the staff claim.
    STAFF = "staff"
    #: An API key with scope `admin`.
    ADMIN = "admin"


class IdKind(StrEnum):
    """The kind of object that an external id identifies."""

    COURSE = "course"
    LEARNER = "learner"


class CourseRole(StrEnum):
    """The role of a person in one course."""

    STAFF = "staff"
    INSTRUCTOR = "instructor"
    LIMITED_STAFF = "limited_staff"
    SUPPORT = "support"
