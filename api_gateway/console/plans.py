"""Plans: dry runs of files, which their callers can apply."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

from api_gateway.auth.caller import Caller
from enrollment.domain.codes import State
from enrollment.domain.submissions import Submission

#: How long a plan can be applied. It is out of date by then; and its key, which lets it be applied
#: once, is kept for longer.
PLAN_TIME = timedelta(days=3)


class PlanState(Enum):
    """Whether a plan can be applied, and why not."""

    READY = "ready"
    UNFINISHED = "unfinished"
    CANCELLED = "cancelled"
    OF_ANOTHER = "of_another"
    OUTDATED = "outdated"


#: Why a plan cannot be applied, and how to go on.
PLAN_PROBLEMS: Mapping[PlanState, str] = {
    PlanState.UNFINISHED: "Only the finished dry run of a file can be applied.",
    PlanState.CANCELLED: "The plan was cancelled before it was complete. Upload the file again.",
    PlanState.OF_ANOTHER: "Only the caller who made a plan can apply it.",
    PlanState.OUTDATED: "The plan is more than three days old. Upload the file again.",
}


def plan_state(submission: Submission, caller: Caller, now: datetime) -> PlanState:
    """Returns whether a caller can apply a submission as a plan at a time.

    An admin sees the plans of others. Applied by two callers, a plan would be applied twice.
    """
    if not submission.options.dry_run or submission.finished_at is None:
        return PlanState.UNFINISHED
    if submission.state is State.CANCELLED:
        return PlanState.CANCELLED
    if submission.caller != caller.name:
        return PlanState.OF_ANOTHER
    is_outdated = now - submission.finished_at > PLAN_TIME
    return PlanState.OUTDATED if is_outdated else PlanState.READY


def plan_key(plan: UUID) -> str:
    """Returns the Idempotency-Key with which a plan is applied."""
    return f"console-plan-{plan}"
