"""Rules: each checks one condition of a request and returns a refusal or None.

Conditions that depend on time are checked at the effective time of the request, however long it
waited in a queue.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from enrollment.domain.codes import Reason
from enrollment.domain.model import (
    AUDIT,
    CREDIT,
    HONOR,
    Attribute,
    Course,
    Enrollment,
    Invitation,
    Learner,
    Request,
)

#: How far a stated time may be ahead of our clock, and then counts as now: clocks differ.
MAX_CLOCK_SKEW = timedelta(seconds=5)


class Refusal(NamedTuple):
    """The reason of a refusal, with data that explains it to the caller."""

    reason: Reason
    details: Mapping[str, object] | None = None


class LearnerContext(NamedTuple):
    """The stored learner, their invitation to the course (None: there is none), and their role."""

    learner: Learner | None = None
    invitation: Invitation | None = None
    #: Whether the learner is on the staff of the course.
    is_course_staff: bool = False

    @property
    def is_ordinary(self) -> bool:
        """Whether no rule treats this learner differently from an unknown one."""
        learner, invitation, is_course_staff = self
        return (
            invitation is None and not is_course_staff and (learner is None or not learner.is_staff)
        )


NO_LEARNER = LearnerContext()


def format_timestamp(moment: datetime) -> str:
    """Formats a time as ISO 8601 in UTC, without a zero fraction (Open edX: Timestamps)."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def refuse_outside_window(request: Request, course: Course) -> Refusal | None:
    """Refuses a request outside the enrollment window; both ends are exclusive."""
    opens, closes = course.enrollment_start, course.enrollment_end
    if opens is not None and request.effective_at <= opens:
        return Refusal(Reason.ENROLLMENT_NOT_OPEN, {"opens_at": format_timestamp(opens)})
    if closes is not None and request.effective_at >= closes:
        return Refusal(Reason.ENROLLMENT_CLOSED, {"closed_at": format_timestamp(closes)})
    return None


def refuse_invitation(request: Request, invitation: Invitation) -> Refusal | None:
    """Refuses an invitation that another learner used, or that has expired."""
    if invitation.used_by is not None and invitation.used_by != request.username:
        return Refusal(Reason.INVITE_USED)
    if invitation.expires_at is not None and invitation.expires_at < request.effective_at:
        expired = format_timestamp(invitation.expires_at)
        return Refusal(Reason.INVITE_EXPIRED, {"expired_at": expired})
    return None


def refuse_entry(
    request: Request, course: Course, learner_context: LearnerContext
) -> Refusal | None:
    """Refuses a request outside the window or without a required invitation.

    A valid invitation admits to closed and invite-only courses. Learners who are staff, of the site
    or of the course, and `force` by a caller with the right to it, pass both conditions.
    """
    if request.force and request.rights.force:
        return None
    if learner_context.is_course_staff or (
        learner_context.learner is not None and learner_context.learner.is_staff
    ):
        return None
    closed = refuse_outside_window(request, course)
    if closed is None and not course.invite_only:
        return None
    if learner_context.invitation is not None:
        return refuse_invitation(request, learner_context.invitation)
    return closed or Refusal(Reason.INVITE_REQUIRED)


def refuse_when_full(course: Course, seats_taken: int) -> Refusal | None:
    """Refuses every request for a course without free seats."""
    if course.capacity is not None and seats_taken >= course.capacity:
        return Refusal(Reason.COURSE_FULL, {"capacity": course.capacity})
    return None


def default_mode(course: Course, at: datetime, site_default: str) -> str | None:
    """Returns the mode of a request that states none; None where no default is available.

    Candidates in order: the site's default, `audit`, `honor` (Open edX: Default mode).
    """
    slugs = {mode.slug for mode in course.modes_at(at) if mode.slug != CREDIT}
    for slug in (site_default, AUDIT, HONOR):
        if slug in slugs:
            return slug
    return None


def refuse_mode(
    request: Request, course: Course, slug: str | None, *, lenient: bool
) -> Refusal | None:
    """Refuses a mode that the course does not have or, unless `lenient`, that has expired."""
    if course.offers(slug, request.effective_at):
        return None
    expired = next((mode for mode in course.modes if mode.slug == slug), None)
    if expired is None:
        offered = _offered(course, request.effective_at)
        return Refusal(Reason.MODE_UNAVAILABLE, {"requested_mode": slug, "offered": offered})
    if lenient:
        return None
    expired_at = format_timestamp(expired.expires_at) if expired.expires_at else None
    details = {
        "requested_mode": slug,
        "expired_at": expired_at,
        "offered": _offered(course, request.effective_at),
    }
    return Refusal(Reason.MODE_EXPIRED, details)


def _offered(course: Course, at: datetime) -> list[str]:
    return [mode.slug for mode in course.modes_at(at)]


def refuse_attributes(
    current: Enrollment | None, given: tuple[Attribute, ...] | None, after: Enrollment
) -> Refusal | None:
    """Refuses the mode `credit` without the attribute `credit:provider_id`, where that counts.

    It counts when an enrollment changes to the mode, and for attributes that the request gives; one
    that is created without any is accepted (Open edX: Credit needs a provider).
    """
    if after.mode != CREDIT or not (given or (current is not None and current.mode != CREDIT)):
        return None
    if any((a.namespace, a.name) == (CREDIT, "provider_id") for a in after.attributes):
        return None
    details = {"requested_mode": CREDIT, "required": ["credit:provider_id"]}
    return Refusal(Reason.ATTRIBUTES_MISSING, details)


def refuse_cohort(course: Course, cohort: str | None) -> Refusal | None:
    """Refuses a cohort that the course does not have."""
    if cohort is None or cohort in course.cohorts:
        return None
    return Refusal(Reason.COHORT_NOT_FOUND, {"cohort": cohort})


def current_or_default_mode(
    request: Request,
    course: Course,
    current: Enrollment | None,
    site_default: str,
    *,
    withdrawn_by_other: bool = False,
) -> str | None:
    """Returns the mode of a request that states none: the current one if available, else a default.

    An expired current mode counts as available for callers with the right `use_expired`. A paid
    mode that another caller ended needs a privileged caller.
    """
    may_keep = not withdrawn_by_other or request.rights.is_privileged
    if (
        current is not None
        and (may_keep or not course.is_paid(current.mode))
        and (
            course.offers(current.mode, request.effective_at)
            or (
                request.rights.use_expired
                and any(mode.slug == current.mode for mode in course.modes)
            )
        )
    ):
        return current.mode
    return default_mode(course, request.effective_at, site_default)
