"""Encodes outcomes for storage (one value per batch) and renders them as JSON, with messages."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NotRequired, TypedDict, cast

from enrollment.domain.codes import Code, Reason
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import Tally
from schemas.destinations.deliveries import ArrivalJson
from schemas.encoding.compact import pack_json, unpack_json
from schemas.encoding.json_types import Count, Doc, FindingJson, Ordinal, Timestamp
from schemas.messages.finding_messages import with_sentence
from schemas.messages.reason_messages import message_of

_CODES = {code.value: code for code in Code}
_REASONS = {reason.value: reason for reason in Reason}


class BulkEnrollStateJson(TypedDict):
    """The state of a learner in a course before or after a bulk enrollment."""

    user: Annotated[bool, Doc("A learner with this username or e-mail exists.")]
    enrollment: Annotated[bool, Doc("The learner has an active enrollment.")]
    allowed: Annotated[bool, Doc("An invitation exists.")]
    auto_enroll: Annotated[bool, Doc("The invitation enrolls the learner automatically.")]
    cohort: NotRequired[str | None]


class OutcomeFactsJson(TypedDict, total=False):
    """The facts behind a reason, and the states that bulk enrollment reports."""

    before: BulkEnrollStateJson
    after: BulkEnrollStateJson
    opens_at: Timestamp
    closed_at: Timestamp
    expired_at: Timestamp | None
    capacity: Count
    active_mode: str
    requested_mode: str | None
    required: list[str]
    cohort: str
    offered: Annotated[list[str], Doc("The modes that the course offers.")]
    nearest: Annotated[str, Doc("The known course id that is most like the unknown one.")]
    field: Annotated[str, Doc("The column for which a row was skipped.")]
    value: Annotated[str | None, Doc("The content of that column.")]
    errors: list[FindingJson]


class OutcomeJson(OutcomeFactsJson):
    """The single outcome of a request, with the facts behind its reason."""

    line: Ordinal
    file: NotRequired[Annotated[str, Doc("The file of the archive.")]]
    file_line: NotRequired[Ordinal]
    user: str | None
    course_id: str | None
    outcome: Code
    reason: NotRequired[Reason]
    message: NotRequired[
        Annotated[str, Doc("A sentence: what is wrong, and what to do. May be reworded.")]
    ]
    mode: NotRequired[str | None]
    is_active: NotRequired[bool]
    destinations: NotRequired[
        Annotated[list[ArrivalJson], Doc("Whether the enrollment's state has arrived.")]
    ]


class ArchiveLineJson(TypedDict, total=False):
    """The place of a line in an archive; empty for any other submission."""

    file: str
    file_line: Ordinal


class OutcomePageJson(TypedDict):
    """Outcomes in input order. Continue at `next` until it is null."""

    outcomes: list[OutcomeJson]
    next: str | None


def encode_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """Encodes the outcomes of a batch, in order."""
    return pack_json(list(map(tuple, outcomes)))


def decode_outcomes(stored: bytes) -> list[Outcome]:
    """Decodes the outcomes of a batch, in order."""
    rows: Any = unpack_json(stored)
    return [
        Outcome(
            row[0], row[1], row[2], _CODES[row[3]], _REASONS.get(row[4]), row[5], row[6], row[7]
        )
        for row in rows
    ]


def tally_outcomes(outcomes: Iterable[Outcome]) -> Tally:
    """Counts outcomes by code and by reason."""
    counts: Counter[Code] = Counter()
    reasons: Counter[str] = Counter()
    for outcome in outcomes:
        counts[outcome.code] += 1
        if outcome.reason is not None:
            reasons[outcome.reason.value] += 1
    return Tally(counts=counts, reasons=reasons)


def dump_outcome(outcome: Outcome) -> OutcomeJson:
    """Renders an outcome; members without a value are left out."""
    dumped: OutcomeJson = {
        "line": outcome.line,
        "user": outcome.user,
        "course_id": outcome.course_id,
        "outcome": outcome.code,
    }
    if outcome.reason is not None:
        dumped["reason"] = outcome.reason
        dumped["message"] = message_of(outcome) or ""
    dumped |= cast("OutcomeJson", dump_facts(outcome))
    if outcome.mode is not None:
        dumped["mode"] = outcome.mode
    if outcome.is_active is not None:
        dumped["is_active"] = outcome.is_active
    return dumped


def dump_facts(outcome: Outcome) -> OutcomeFactsJson:
    """Returns the facts of an outcome, its findings with their sentences."""
    facts = dict(outcome.details or {})  # made by the rules, or decoded from their stored form
    if isinstance(facts.get("errors"), list | tuple):
        facts["errors"] = list(map(with_sentence, cast("Sequence[Any]", facts["errors"])))
    return cast("OutcomeFactsJson", facts)
