"""Verdicts on messages: accepted, refused, or postponed."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from enrollment.domain.errors import EnrollmentError, KeyReused
from enrollment.runtime.metrics.instruments import INBOUND_REQUESTS
from intake_store.group_store import StoreResult
from worker.inbound.messages import MessageRefusal


class Accepted(NamedTuple):
    """A message that became a submission, now or earlier."""

    submission_id: UUID


class Postponed(NamedTuple):
    """A message that cannot be accepted yet, with the reason."""

    because: str


Verdict = Accepted | MessageRefusal | Postponed
_RESULTS: Mapping[type[Verdict], str] = {
    Accepted: "accepted",
    MessageRefusal: "refused",
    Postponed: "postponed",
}


def count_verdicts(verdicts: Iterable[Verdict]) -> None:
    """Counts requests by what became of them, in the metrics."""
    for verdict in verdicts:
        INBOUND_REQUESTS.labels(_RESULTS[type(verdict)]).inc()


def verdict_of(result: StoreResult) -> Verdict:
    """Returns the verdict on a message that was stored, or could not be."""
    if isinstance(result, KeyReused):
        return key_reused()
    if isinstance(result, EnrollmentError):
        return Postponed(str(result))
    return Accepted(result.submission_id)


def key_reused() -> MessageRefusal:
    """Returns the refusal of other content under an id that was used before."""
    message = "Its id was used before for other requests: give each message an id of its own."
    return MessageRefusal("idempotency_key_reused", message)
