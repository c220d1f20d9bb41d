"""HTTP status and problem code of every domain error."""

from collections.abc import Mapping
from http import HTTPStatus

from enrollment.domain import errors as domain

#: Status and problem code of every domain error that a caller can get.
PROBLEM_STATUS: Mapping[type[domain.EnrollmentError], tuple[HTTPStatus, str]] = {
    domain.SubmissionNotFound: (HTTPStatus.NOT_FOUND, "not_found"),
    domain.SubmissionFinished: (HTTPStatus.CONFLICT, "submission_finished"),
    domain.CourseNotFound: (HTTPStatus.NOT_FOUND, "course_not_found"),
    domain.CourseInUse: (HTTPStatus.CONFLICT, "course_in_use"),
    domain.LearnerNotFound: (HTTPStatus.NOT_FOUND, "learner_not_found"),
    domain.LearnerInUse: (HTTPStatus.CONFLICT, "learner_in_use"),
    domain.EmailTaken: (HTTPStatus.CONFLICT, "email_taken"),
    domain.InvitationNotFound: (HTTPStatus.NOT_FOUND, "not_found"),
    domain.RoleNotFound: (HTTPStatus.NOT_FOUND, "not_found"),
    domain.KeyReused: (HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
    domain.KeyInFlight: (HTTPStatus.CONFLICT, "idempotency_key_in_flight"),
    domain.Overloaded: (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    domain.Conflict: (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    domain.DatabaseUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    domain.NotDurable: (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    domain.StatementTimeout: (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    domain.ListTooSlow: (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
}
