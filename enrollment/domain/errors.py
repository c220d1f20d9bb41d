"""What can go wrong, each named for the fact; the doors give them a status."""


class EnrollmentError(Exception):
    """Something about a request to this service is not as it must be."""


class SubmissionNotFound(EnrollmentError):
    """There is no such submission, or it is somebody else's."""


class SubmissionFinished(EnrollmentError):
    """A submission that is done can no longer be cancelled."""


class CourseNotFound(EnrollmentError):
    """There is no such course."""


class CourseInUse(EnrollmentError):
    """A course with enrollments cannot be deleted."""


class LearnerNotFound(EnrollmentError):
    """There is no such learner."""


class LearnerInUse(EnrollmentError):
    """A learner with enrollments cannot be deleted."""


class EmailTaken(EnrollmentError):
    """Another learner has this e-mail already."""


class InvitationNotFound(EnrollmentError):
    """There is no such invitation."""


class KeyReused(EnrollmentError):
    """An Idempotency-Key was sent before with another request."""


class KeyInFlight(EnrollmentError):
    """The first request with this Idempotency-Key is still coming in."""


class Overloaded(EnrollmentError):
    """More is waiting than can be served; come back later."""


class Conflict(EnrollmentError):
    """Somebody else wrote first what this transaction had read; judge again."""


class RecordsUnavailable(EnrollmentError):
    """The database did not answer."""


class NotDurable(RecordsUnavailable):
    """The database does not keep what it commits."""


class TookTooLong(RecordsUnavailable):
    """A statement did not end in its time."""
