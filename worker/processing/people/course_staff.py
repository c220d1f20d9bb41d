"""Finds the learners who pass the window and the invitation as staff of the course."""

from collections.abc import Mapping, Sequence
from operator import attrgetter

from sqlalchemy.orm import Session

from enrollment.domain.batch_decision import EnrollmentKey
from enrollment.domain.model import Course, Invitation, Request
from enrollment.domain.rules import LearnerContext, refuse_entry, refuse_outside_window
from enrollment.storage.courses import LoadedCourse
from enrollment.storage.learners import LoadedLearner
from enrollment.storage.people import course_roles

_effective_at = attrgetter("effective_at")


def find_course_staff(
    session: Session,
    requests: Sequence[Request],
    courses: Mapping[str, LoadedCourse],
    learners: Mapping[str, LoadedLearner],
    invitations: Mapping[EnrollmentKey, Invitation],
) -> frozenset[EnrollmentKey]:
    """Returns the enrollments whose learners are on the staff of the course.

    Looks only at those that the window or the invitation would refuse, in one statement; most
    batches have none, and take none.
    """
    restricted = _restricted_courses(requests, courses)
    if not restricted:
        return frozenset()
    refused = set()
    for request in requests:
        course = restricted.get(request.course_id)
        if course is None or not request.is_active:
            continue
        loaded = learners.get(request.username)
        learner = None if loaded is None else loaded.learner
        email = None if learner is None else learner.email
        invitation = None if email is None else invitations.get((request.course_id, email))
        if refuse_entry(request, course, LearnerContext(learner, invitation)) is not None:
            refused.add((request.username, request.course_id))
    staff = course_roles.staff_pairs(session, refused)
    return frozenset((course_id, username) for username, course_id in staff)


def _restricted_courses(
    requests: Sequence[Request], courses: Mapping[str, LoadedCourse]
) -> dict[str, Course]:
    """Returns the courses that are invite-only, or closed to the first or to the last request.

    A window that is open to both is open to all requests between them.
    """
    limited = [
        loaded.course
        for loaded in courses.values()
        if loaded.course.invite_only
        or loaded.course.enrollment_start is not None
        or loaded.course.enrollment_end is not None
    ]
    if not limited or not requests:
        return {}
    times = set(map(_effective_at, requests))
    ends = [requests[0]._replace(effective_at=at) for at in (min(times), max(times))]
    return {
        course.course_id: course
        for course in limited
        if course.invite_only or any(refuse_outside_window(end, course) for end in ends)
    }
