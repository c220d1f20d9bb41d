"""Loads the state that the requests of a batch touch, by a fixed number of statements."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from sqlalchemy.orm import Session

from enrollment.domain.batch_decision import EnrollmentKey
from enrollment.domain.model import Invitation, Request
from enrollment.storage import (
    course_edition,
    courses,
    enrollments,
    events,
    invitations,
    learners,
)
from enrollment.storage.courses import LoadedCourse
from enrollment.storage.enrollments import LoadedEnrollment
from enrollment.storage.learners import LoadedLearner
from worker.processing.nearest_courses import find_nearest_courses
from worker.processing.people.course_staff import find_course_staff


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedState:
    """Rows by the names that requests use, with the versions that guard writing them back."""

    courses: Mapping[str, LoadedCourse]
    learners: Mapping[str, LoadedLearner]
    #: By (course_id, username).
    enrollments: Mapping[EnrollmentKey, LoadedEnrollment]
    #: By (course_id, e-mail).
    invitations: Mapping[EnrollmentKey, Invitation]
    #: Inactive enrollments in paid modes that another caller than the learner withdrew. Has only
    #: those that learners ask for.
    withdrawn_by_others: Collection[EnrollmentKey]
    #: Enrollments of learners on the staff of the course. Has only those that the window or the
    #: invitation would refuse otherwise.
    course_staff: Collection[EnrollmentKey]
    #: Known courses that unknown ones are most like.
    nearest_courses: Mapping[str, str]


class Locking(Enum):
    """Which rows are locked before they are loaded. Writing the others back may conflict."""

    NONE = auto()
    #: Courses with a seat limit.
    CAPPED = auto()
    #: All: courses cannot be changed, nor the enrollments that exist.
    ALL = auto()


def load_state(session: Session, requests: Sequence[Request], locking: Locking) -> LoadedState:
    """Loads the state of the requests, and locks rows first."""
    pairs = {(request.course_id, request.username) for request in requests}
    course_ids = {course_id for course_id, _ in pairs}
    if locking is Locking.ALL:
        course_edition.block_changes(session)
    known_courses = courses.load_for_batch(
        session, course_ids, lock_capped=locking is not Locking.NONE
    )
    known_learners = learners.find_many(session, {username for _, username in pairs})
    loaded = _enrollments(session, pairs, known_courses, known_learners, locking)
    known_invitations = _invitations(session, pairs, known_learners)
    return LoadedState(
        courses=known_courses,
        learners=known_learners,
        enrollments=loaded,
        invitations=known_invitations,
        withdrawn_by_others=_withdrawn_by_others(session, requests, known_courses, loaded),
        course_staff=find_course_staff(
            session, requests, known_courses, known_learners, known_invitations
        ),
        nearest_courses=find_nearest_courses(session, course_ids - known_courses.keys()),
    )


def _withdrawn_by_others(
    session: Session,
    requests: Sequence[Request],
    known_courses: Mapping[str, LoadedCourse],
    loaded: Mapping[EnrollmentKey, LoadedEnrollment],
) -> frozenset[EnrollmentKey]:
    """Returns the enrollments whose latest event is not by the learner, in one statement or none.

    Looks at inactive enrollments in paid modes alone, and only where learners ask for them.
    """
    latest = {}
    for request in requests if loaded else ():
        stored = loaded.get((request.course_id, request.username))
        if request.rights.is_privileged or stored is None or stored.enrollment.is_active:
            continue
        if known_courses[request.course_id].course.is_paid(stored.enrollment.mode):
            latest[request.course_id, request.username] = stored.event_id
    callers = events.find_callers(session, latest.values())
    return frozenset(
        key for key, event_id in latest.items() if callers.get(event_id) != f"user:{key[1]}"
    )


def _enrollments(
    session: Session,
    pairs: Iterable[EnrollmentKey],
    known_courses: Mapping[str, LoadedCourse],
    known_learners: Mapping[str, LoadedLearner],
    locking: Locking,
) -> dict[EnrollmentKey, LoadedEnrollment]:
    keys = {
        (known_learners[username].id, known_courses[course_id].id): (course_id, username)
        for course_id, username in pairs
        if username in known_learners and course_id in known_courses
    }
    found = enrollments.find_many(session, keys.keys(), lock=locking is Locking.ALL)
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
