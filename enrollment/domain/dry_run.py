"""Trying requests out: what rows would leave for those after them, while nothing is changed."""

from typing import NamedTuple

from enrollment.domain.batch_decision import BatchContext, BatchDecision, EnrollmentKey
from enrollment.domain.model import Enrollment


class DryRunEffect(NamedTuple):
    """What some requests would leave of one enrollment."""

    enrollment: Enrollment
    #: Seats that they would take (or give back, if negative).
    seats: int = 0
    #: The e-mail of the invitation that they would use.
    invitation: str | None = None


def dry_run_effects(
    judgement: BatchDecision, world: BatchContext
) -> dict[EnrollmentKey, DryRunEffect]:
    """What a judgement would leave in the world, enrollment by enrollment."""
    used = {
        (course_id, username): email
        for (course_id, email), username in judgement.invitations_used.items()
    }
    return {
        key: DryRunEffect(after, after.is_active - _was_active(world, key), used.get(key))
        for key, after in judgement.enrollments.items()
    }


def _was_active(world: BatchContext, key: EnrollmentKey) -> bool:
    before = world.enrollments.get(key)
    return before is not None and before.is_active
