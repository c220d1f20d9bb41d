"""The entries of reply streams."""

from collections.abc import Sequence
from typing import Any

import orjson

from enrollment.domain.model import Outcome
from enrollment.domain.submissions import Submission
from schemas.outcomes import dump_outcome
from worker.inbound.messages import MessageRefusal

#: Most entries of a reply stream, about: a reader that is away for longer asks over HTTP.
MAX_REPLIES = 100_000


def outcome_entry(
    sent_id: str, submission: Submission, outcomes: Sequence[Outcome]
) -> dict[Any, Any]:
    """Returns the reply for a submission that is complete, with its outcomes in input order."""
    return {
        "id": sent_id,
        "submission_id": str(submission.id),
        "state": submission.state.value,
        "result": "" if submission.result is None else submission.result.value,
        "outcomes": orjson.dumps([dump_outcome(outcome) for outcome in outcomes]),
    }


def refusal_entry(sent_id: str, refusal: MessageRefusal) -> dict[Any, Any]:
    """Returns the reply for a message that is not accepted."""
    return {"id": sent_id, "state": "refused", "error": orjson.dumps(refusal.as_json())}
