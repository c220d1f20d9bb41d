"""Effects of a dry run: the state that its requests would leave to later ones."""

from typing import NamedTuple

from enrollment.domain.batch_decision import BatchContext, BatchDecision, EnrollmentKey
from enrollment.domain.model import Enrollment


class DryRunEffect(NamedTuple):
    """The effect of some requests on one enrollment."""

    enrollment: Enrollment
    #: Change in the number of seats taken.
    seats: int = 0
    #: E-mail of the invitation that would be used; None: no invitation.
    invitation: str | None = None


def dry_run_effects(
    decision: BatchDecision, context: BatchContext
) -> dict[EnrollmentKey, DryRunEffect]:
    """Returns the effect of a batch decision on each enrollment that it would write."""
    used = {
        (course_id, username): email
        for (course_id, email), username in decision.invitations_used.items()
    }
    return {
        key: DryRunEffect(after, after.is_active - _was_active(context, key), used.get(key))
        for key, after in decision.enrollments.items()
    }


def _was_active(context: BatchContext, key: EnrollmentKey) -> bool:
    before = context.enrollments.get(key)
    return before is not None and before.is_active
