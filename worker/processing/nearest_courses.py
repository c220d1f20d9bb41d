"""Finds the known course that an unknown course id was probably meant to be."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from sqlalchemy.orm import Session

from enrollment.domain.codes import Reason
from enrollment.domain.model import Outcome
from enrollment.storage.views import course_ids
from schemas.requests.near_miss import nearest_id

#: Maximum number of unknown ids of one claim, and of known ids that they are compared with: the
#: comparison takes a few milliseconds at most.
MAX_UNKNOWN_COURSES = 10
MAX_COMPARED_COURSES = 500

NO_NEAREST: Mapping[str, str] = MappingProxyType({})


def find_nearest_courses(session: Session, unknown: Collection[str]) -> Mapping[str, str]:
    """Returns the nearest known id of some unknown ids; in one statement, none without any.

    Course ids are public, so a message may name them to every caller.
    """
    if not unknown:
        return NO_NEAREST
    compared = sorted(unknown)[:MAX_UNKNOWN_COURSES]
    known = course_ids.list_of_same_orgs(session, compared, limit=MAX_COMPARED_COURSES)
    nearest = ((course_id, nearest_id(course_id, known)) for course_id in compared)
    return {course_id: near for course_id, near in nearest if near is not None}


def add_nearest(outcomes: Sequence[Outcome], nearest: Mapping[str, str]) -> list[Outcome]:
    """Returns the outcomes, with the nearest course where the course was not found."""
    return [
        outcome
        if outcome.reason is not Reason.COURSE_NOT_FOUND
        or outcome.details  # an id of another system
        else outcome._replace(details=_details(nearest.get(outcome.course_id or "")))
        for outcome in outcomes
    ]


def _details(near: str | None) -> Mapping[str, object] | None:
    return None if near is None else {"nearest": near}
