"""Renders enrollments, and outcomes that are errors, in the form of the Open edX API."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, NamedTuple, TypedDict

import orjson

from enrollment.domain.codes import Code, Reason
from enrollment.domain.model import Course, Enrollment, Outcome
from enrollment.domain.rules import format_timestamp
from schemas.courses import CourseDetailsJson, dump_details
from schemas.encoding.json_types import StringFormat, Timestamp
from schemas.messages.reason_messages import message_of
from schemas.outcomes import OutcomeJson, dump_outcome


class EnrollmentJson(TypedDict):
    """The state of one learner in one course."""

    created: Timestamp
    mode: str
    is_active: bool
    course_details: CourseDetailsJson | None
    user: str


class EnrollmentRowJson(TypedDict):
    """An enrollment as a row of the listing, without the course object."""

    created: Timestamp
    mode: str
    is_active: bool
    user: str
    course_id: str


class EnrollmentPageJson(TypedDict):
    """Enrollments, newest first."""

    next: Annotated[str, StringFormat("uri")] | None
    previous: str | None
    results: list[EnrollmentRowJson]


def dump_enrollment(
    username: str, enrollment: Enrollment, course: Course | None, *, at: datetime
) -> EnrollmentJson:
    """Renders an enrollment (docs/openedx-compatibility.md, Enrollment object)."""
    return {
        "created": format_timestamp(enrollment.created),
        "mode": enrollment.mode,
        "is_active": enrollment.is_active,
        "course_details": (
            None if course is None else dump_details(course, at=at, include_expired=False)
        ),
        "user": username,
    }


def splice_enrollment(
    username: str,
    mode: str,
    *,
    is_active: bool,
    created: datetime,
    details: orjson.Fragment | None,
) -> dict[str, object]:
    """Returns what `render_spliced` renders as an enrollment, with details that are JSON already.

    Equal to the result of `dump_enrollment`, the reference. `created` is in UTC.
    """
    return {
        "created": created,
        "mode": mode,
        "is_active": is_active,
        "course_details": details,
        "user": username,
    }


def render_spliced(spliced: dict[str, object] | list[dict[str, object]]) -> bytes:
    """Renders one enrollment, or a list, as JSON."""
    return orjson.dumps(spliced, option=orjson.OPT_UTC_Z)


def dump_row(username: str, course_id: str, enrollment: Enrollment) -> EnrollmentRowJson:
    """Renders a row of the listing (docs/openedx-compatibility.md, Listing of all enrollments)."""
    return {
        "created": format_timestamp(enrollment.created),
        "mode": enrollment.mode,
        "is_active": enrollment.is_active,
        "user": username,
        "course_id": course_id,
    }


#: Outcomes after which the enrollment is as requested, or as a later request left it.
SUCCESS_CODES = frozenset(
    {
        Code.ENROLLED,
        Code.REACTIVATED,
        Code.MODE_CHANGED,
        Code.DEACTIVATED,
        Code.UPDATED,
        Code.UNCHANGED,
        Code.SUPERSEDED,
    }
)

_STATUS: Mapping[Reason, HTTPStatus] = {
    Reason.LEARNER_NOT_FOUND: HTTPStatus.NOT_ACCEPTABLE,
    Reason.NOT_PERMITTED: HTTPStatus.FORBIDDEN,
    Reason.INTERNAL_ERROR: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class V1Refusal(NamedTuple):
    """Status and message of Open edX for an outcome that is not one of `SUCCESS_CODES`."""

    status: HTTPStatus
    code: str
    message: str
    #: Whether the response includes the course object, as it does for refused modes.
    with_course: bool = False
    #: None if the request was cancelled.
    outcome: OutcomeJson | None = None


def v1_refusal(outcome: Outcome) -> V1Refusal:
    """Returns the refusal (docs/openedx-compatibility.md, Statuses and messages)."""
    if outcome.reason is None:
        text = "The request was cancelled before it was processed."
        return V1Refusal(HTTPStatus.CONFLICT, Code.CANCELLED.value, text)
    reason = outcome.reason
    with_course = reason in {Reason.MODE_UNAVAILABLE, Reason.MODE_EXPIRED}
    status = _STATUS.get(reason, HTTPStatus.BAD_REQUEST)
    return V1Refusal(
        status,
        reason.value,
        _v1_message(outcome),
        with_course=with_course,
        outcome=dump_outcome(outcome),
    )


def _v1_message(outcome: Outcome) -> str:
    facts = outcome.details or {}
    user, course_id = outcome.user, outcome.course_id
    texts = {
        Reason.COURSE_NOT_FOUND: f"No course '{course_id}' found for enrollment",
        Reason.LEARNER_NOT_FOUND: _unknown_learner(user),
        Reason.MODE_UNAVAILABLE: _unavailable_mode(facts, course_id),
        Reason.MODE_EXPIRED: _unavailable_mode(facts, course_id),
        Reason.MODE_MISMATCH: (
            f"Enrollment mode mismatch: active mode={facts.get('active_mode')}, "
            f"requested mode={facts.get('requested_mode')}. Won't deactivate."
        ),
        Reason.ATTRIBUTES_MISSING: (
            f"Missing enrollment attributes: requested mode={facts.get('requested_mode')} "
            f"required attributes={facts.get('required')}"
        ),
        Reason.COHORT_NOT_FOUND: (
            f"An error occured while adding to cohort [{facts.get('cohort')}]"
        ),
        Reason.NOT_PERMITTED: message_of(outcome) or "",
        Reason.INVALID_ROW: message_of(outcome) or "",
        Reason.INTERNAL_ERROR: message_of(outcome) or "",
    }
    general = (
        f"An error occurred while creating the new course enrollment for user '{user}' "
        f"in course '{course_id}'"
    )
    return texts.get(outcome.reason or Reason.INTERNAL_ERROR, general)


def _unknown_learner(user: str | None) -> str:
    if user is not None and "@" in user:
        return f"The user with the email address {user} does not exist."
    return f"The user {user} does not exist."


def _unavailable_mode(facts: Mapping[str, object], course_id: str | None) -> str:
    return (
        f"The [{facts.get('requested_mode')}] course mode is expired or otherwise unavailable "
        f"for course run [{course_id}]."
    )
