"""Renders whether a request would be accepted."""

from typing import Annotated

from enrollment.domain.codes import Code, Reason
from enrollment.domain.model import Outcome
from schemas.encoding.json_types import Doc
from schemas.enrollments import SUCCESS_CODES
from schemas.messages.reason_messages import message_of
from schemas.outcomes import OutcomeFactsJson, dump_facts


class EligibilityJson(OutcomeFactsJson):
    """The outcome that a request would have now, and the facts behind a refusal."""

    user: str
    course_id: str
    eligible: Annotated[bool, Doc("The request would be accepted, or is fulfilled already.")]
    outcome: Code
    reason: Annotated[Reason | None, Doc("Why not.")]
    message: Annotated[str | None, Doc("A sentence: what is wrong, and what to do.")]
    mode: Annotated[str | None, Doc("The mode that the learner would have, or that was refused.")]


def dump_eligibility(
    outcome: Outcome, *, username: str, course_id: str, mode: str | None
) -> EligibilityJson:
    """Renders the outcome that a request for a mode (None: the default) would have."""
    is_eligible = outcome.code in SUCCESS_CODES
    return {
        "user": username,
        "course_id": course_id,
        "eligible": is_eligible,
        "outcome": outcome.code,
        "reason": outcome.reason,
        "message": None if outcome.reason is None else message_of(outcome),
        "mode": outcome.mode if is_eligible else mode or outcome.mode,
        **dump_facts(outcome),
    }
