"""What stands before a batch is judged, loaded set-wise: a fixed number of statements."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from enrollment.domain.batch_decision import EnrollmentKey
from enrollment.domain.model import Invitation, Request
from enrollment.storage import courses, enrollments, invitations, learners
from enrollment.storage.courses import LoadedCourse
from enrollment.storage.enrollments import LoadedEnrollment
from enrollment.storage.learners import LoadedLearner


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedState:
    """Records by the names that requests use, with what guards writing them back."""

    courses: Mapping[str, LoadedCourse]
    learners: Mapping[str, LoadedLearner]
    #: By (course_id, username).
    enrollments: Mapping[EnrollmentKey, LoadedEnrollment]
    #: By (course_id, e-mail).
    invitations: Mapping[EnrollmentKey, Invitation]


def load_state(session: Session, requests: Sequence[Request], *, lock: bool = True) -> LoadedState:
    """Everything that the requests touch. Courses with a seat cap are locked first, if at all."""
    pairs = {(request.course_id, request.username) for request in requests}
    known_courses = courses.load_for_batch(
        session, {course_id for course_id, _ in pairs}, lock_capped=lock
    )
    known = learners.find_many(session, {username for _, username in pairs})
    return LoadedState(
        courses=known_courses,
        learners=known,
        enrollments=_enrollments(session, pairs, known_courses, known),
        invitations=_invitations(session, pairs, known),
    )


def _enrollments(
    session: Session,
    pairs: Iterable[EnrollmentKey],
    known_courses: Mapping[str, LoadedCourse],
    known: Mapping[str, LoadedLearner],
) -> dict[EnrollmentKey, LoadedEnrollment]:
    keys = {
        (known[username].id, known_courses[course_id].id): (course_id, username)
        for course_id, username in pairs
        if username in known and course_id in known_courses
    }
    return {keys[key]: kept for key, kept in enrollments.find_many(session, keys.keys()).items()}


def _invitations(
    session: Session, pairs: Iterable[EnrollmentKey], known: Mapping[str, LoadedLearner]
) -> Mapping[EnrollmentKey, Invitation]:
    guests = {
        (course_id, email)
        for course_id, username in pairs
        if username in known and (email := known[username].learner.email) is not None
    }
    return invitations.find_many(session, guests)
