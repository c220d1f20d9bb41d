"""The rules: each looks at one thing and gives a refusal, or None.

All are judged at the moment the wish was asked, never when a worker reached it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
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


class Refusal(NamedTuple):
    """Why not, with the facts that a caller needs to know when or how."""

    reason: Reason
    details: Mapping[str, object] | None = None


class LearnerContext(NamedTuple):
    """What is known of the learner beside the enrollment itself."""

    learner: Learner | None = None
    invitation: Invitation | None = None

    @property
    def is_ordinary(self) -> bool:
        """Whether nothing is known that a rule asks for."""
        learner, invitation = self
        return invitation is None and (learner is None or not learner.is_staff)


NO_LEARNER = LearnerContext()


def format_timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with ``Z``, a fraction only where there is one (upstream 1.5)."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def refuse_outside_window(request: Request, course: Course) -> Refusal | None:
    """The window is open strictly between its two moments."""
    opens, closes = course.enrollment_start, course.enrollment_end
    if opens is not None and request.effective_at <= opens:
        return Refusal(Reason.ENROLLMENT_NOT_OPEN, {"opens_at": format_timestamp(opens)})
    if closes is not None and request.effective_at >= closes:
        return Refusal(Reason.ENROLLMENT_CLOSED, {"closed_at": format_timestamp(closes)})
    return None


def refuse_invitation(request: Request, invitation: Invitation) -> Refusal | None:
    """An invitation serves one learner, up to its last moment."""
    if invitation.used_by is not None and invitation.used_by != request.username:
        return Refusal(Reason.INVITE_USED)
    if invitation.expires_at is not None and invitation.expires_at < request.effective_at:
        expired = format_timestamp(invitation.expires_at)
        return Refusal(Reason.INVITE_EXPIRED, {"expired_at": expired})
    return None


def refuse_entry(request: Request, course: Course, guest: LearnerContext) -> Refusal | None:
    """Open courses are open to all; an invitation opens closed and invite-only ones.

    Staff as the learner, and force by who may use it, pass both.
    """
    if request.force and request.rights.force:
        return None
    if guest.learner is not None and guest.learner.is_staff:
        return None
    closed = refuse_outside_window(request, course)
    if closed is None and not course.invite_only:
        return None
    if guest.invitation is not None:
        return refuse_invitation(request, guest.invitation)
    return closed or Refusal(Reason.INVITE_REQUIRED)


def refuse_when_full(course: Course, seats_taken: int) -> Refusal | None:
    """Seats are never given beyond the capacity, whoever asks."""
    if course.capacity is not None and seats_taken >= course.capacity:
        return Refusal(Reason.COURSE_FULL, {"capacity": course.capacity})
    return None


def default_mode(course: Course, at: datetime, site_default: str) -> str | None:
    """The mode of who names none: the site's default, else audit, else honor, else none."""
    slugs = {mode.slug for mode in course.modes_at(at) if mode.slug != CREDIT}
    for slug in (site_default, AUDIT, HONOR):
        if slug in slugs:
            return slug
    return None


def refuse_mode(
    request: Request, course: Course, slug: str | None, *, lenient: bool
) -> Refusal | None:
    """A mode must be one of the course's, and before its deadline unless lenient."""
    if course.offers(slug, request.effective_at):
        return None
    late = next((mode for mode in course.modes if mode.slug == slug), None)
    if late is None:
        return Refusal(Reason.MODE_UNAVAILABLE, {"requested_mode": slug})
    if lenient:
        return None
    expired = format_timestamp(late.expires_at) if late.expires_at else None
    return Refusal(Reason.MODE_EXPIRED, {"requested_mode": slug, "expired_at": expired})


def refuse_attributes(mode: str, attributes: tuple[Attribute, ...]) -> Refusal | None:
    """Credit is given by somebody: it needs credit:provider_id."""
    if mode == CREDIT and not any(
        (a.namespace, a.name) == (CREDIT, "provider_id") for a in attributes
    ):
        facts = {"requested_mode": mode, "required": ["credit:provider_id"]}
        return Refusal(Reason.ATTRIBUTES_MISSING, facts)
    return None


def refuse_cohort(course: Course, cohort: str | None) -> Refusal | None:
    """A cohort must be one of the course's."""
    if cohort is None or cohort in course.cohorts:
        return None
    return Refusal(Reason.COHORT_NOT_FOUND, {"cohort": cohort})


def current_or_default_mode(
    request: Request, course: Course, current: Enrollment | None, site_default: str
) -> str | None:
    """The mode of who names none: the one it had if that can still be had, else the default."""
    if current is not None and (
        course.offers(current.mode, request.effective_at)
        or (request.rights.use_expired and any(mode.slug == current.mode for mode in course.modes))
    ):
        return current.mode
    return default_mode(course, request.effective_at, site_default)
