"""Domain errors. The gateway maps each to an HTTP status."""

from uuid import UUID


class EnrollmentError(Exception):
    """Base class of the errors of this service."""


class SubmissionNotFound(EnrollmentError):
    """The submission does not exist, or belongs to another caller."""


class SubmissionFinished(EnrollmentError):
    """The submission is finished and can no longer be cancelled."""


class CourseNotFound(EnrollmentError):
    """The course does not exist."""


class CourseInUse(EnrollmentError):
    """A course with enrollments cannot be deleted."""


class LearnerNotFound(EnrollmentError):
    """The learner does not exist."""


class LearnerInUse(EnrollmentError):
    """A learner with enrollments cannot be deleted."""


class EmailTaken(EnrollmentError):
    """Another learner already has this e-mail address."""


class InvitationNotFound(EnrollmentError):
    """The invitation does not exist."""


class RoleNotFound(EnrollmentError):
    """The person has no role in the course."""


class KeyReused(EnrollmentError):
    """The Idempotency-Key was already used with a different request."""

    def __init__(self, key: str | None, submission_id: UUID | None = None) -> None:
        super().__init__(key)
        #: The submission of the first request with the key; None if it made none.
        self.submission_id = submission_id


class KeyInFlight(EnrollmentError):
    """The first request with this Idempotency-Key is still in progress."""


class Overloaded(EnrollmentError):
    """A queue of the service is full; retry later."""


class Conflict(EnrollmentError):
    """Another transaction changed rows that this one had read; process the batch again."""


class DatabaseUnavailable(EnrollmentError):
    """The database is unavailable."""


class NotDurable(DatabaseUnavailable):
    """The database is configured so that it can lose committed data."""


class StatementTimeout(DatabaseUnavailable):
    """A statement exceeded its time limit."""


class ListTooSlow(DatabaseUnavailable):
    """Reading the list took too long. Try again later, or ask for fewer items or with a filter."""
