"""Loads the state that the requests of a batch touch, by a fixed number of statements."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from enrollment.domain.batch_decision import EnrollmentKey
from enrollment.domain.model import Invitation, Request
from enrollment.storage import courses, enrollments, invitations, learners
from enrollment.storage.courses import LoadedCourse
from enrollment.storage.enrollments import LoadedEnrollment
from enrollment.storage.learners import LoadedLearner
from worker.processing.nearest_courses import find_nearest_courses


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedState:
    """Rows by the names that requests use, with the versions that guard writing them back."""

    courses: Mapping[str, LoadedCourse]
    learners: Mapping[str, LoadedLearner]
    #: By (course_id, username).
    enrollments: Mapping[EnrollmentKey, LoadedEnrollment]
    #: By (course_id, e-mail).
    invitations: Mapping[EnrollmentKey, Invitation]
    #: Known courses that unknown ones are most like.
    nearest_courses: Mapping[str, str]


def load_state(session: Session, requests: Sequence[Request], *, lock: bool = True) -> LoadedState:
    """Loads the state of the requests. With `lock`, locks courses with a seat limit first."""
    pairs = {(request.course_id, request.username) for request in requests}
    course_ids = {course_id for course_id, _ in pairs}
    known_courses = courses.load_for_batch(session, course_ids, lock_capped=lock)
    known_learners = learners.find_many(session, {username for _, username in pairs})
    return LoadedState(
        courses=known_courses,
        learners=known_learners,
        enrollments=_enrollments(session, pairs, known_courses, known_learners),
        invitations=_invitations(session, pairs, known_learners),
        nearest_courses=find_nearest_courses(session, course_ids - known_courses.keys()),
    )


def _enrollments(
    session: Session,
    pairs: Iterable[EnrollmentKey],
    known_courses: Mapping[str, LoadedCourse],
    known_learners: Mapping[str, LoadedLearner],
) -> dict[EnrollmentKey, LoadedEnrollment]:
    keys = {
        (known_learners[username].id, known_courses[course_id].id): (course_id, username)
        for course_id, username in pairs
        if username in known_learners and course_id in known_courses
    }
    found = enrollments.find_many(session, keys.keys())
    return {keys[key]: enrollment for key, enrollment in found.items()}


def _invitations(
    session: Session, pairs: Iterable[EnrollmentKey], known_learners: Mapping[str, LoadedLearner]
) -> Mapping[EnrollmentKey, Invitation]:
    invitation_keys = {
        (course_id, email)
        for course_id, username in pairs
        if username in known_learners
        and (email := known_learners[username].learner.email) is not None
    }
    return invitations.find_many(session, invitation_keys)
