"""Encodes outcomes for storage (one value per batch) and renders them as JSON, with messages."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, NotRequired, TypedDict, cast

from enrollment.domain.codes import Code, Reason
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import Tally
from schemas.encoding.compact import pack_json, unpack_json
from schemas.encoding.json_types import Count, Doc, FindingJson, Ordinal, Timestamp

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
    message: NotRequired[str]
    mode: NotRequired[str | None]
    is_active: NotRequired[bool]


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


#: The message of each reason; placeholders are filled from the outcome's details.
MESSAGES: Mapping[Reason, str] = {
    Reason.COURSE_NOT_FOUND: "There is no course with this id.",
    Reason.LEARNER_NOT_FOUND: "There is no such learner.",
    Reason.ENROLLMENT_NOT_OPEN: "Enrollment opens at {opens_at}.",
    Reason.ENROLLMENT_CLOSED: "Enrollment closed at {closed_at}.",
    Reason.INVITE_REQUIRED: "The course accepts invited learners only.",
    Reason.INVITE_USED: "The invitation was used by another learner.",
    Reason.INVITE_EXPIRED: "The invitation expired at {expired_at}.",
    Reason.COURSE_FULL: "All {capacity} seats are taken.",
    Reason.MODE_UNAVAILABLE: "The course does not offer the mode {requested_mode}.",
    Reason.MODE_EXPIRED: "The mode {requested_mode} was available until {expired_at}.",
    Reason.MODE_MISMATCH: (
        "Enrollment mode mismatch: active mode={active_mode}, "
        "requested mode={requested_mode}. Won't deactivate."
    ),
    Reason.ATTRIBUTES_MISSING: "The mode {requested_mode} needs the attributes {required}.",
    Reason.COHORT_NOT_FOUND: "The course has no cohort {cohort}.",
    Reason.NOT_PERMITTED: "The caller has no permission for this request.",
    Reason.INVALID_ROW: "The row is invalid: {errors}.",
    Reason.ABORTED: "Another row of this all-or-nothing submission was refused.",
    Reason.INTERNAL_ERROR: "The request could not be processed because of an internal error.",
    Reason.ROLE_NOT_LEARNER: "{field} is {value}: only learners are enrolled and withdrawn.",
    Reason.STATUS_NOT_APPLICABLE: "{field} is {value}, which asks for nothing here.",
    Reason.NOT_CURRENT: "{field} is {value}: the record has ended, or is yet to begin.",
    Reason.KEPT_BY_OTHER_RECORD: "Another row of the file keeps the learner in the course.",
}


class _Facts(dict[str, object]):
    """Facts by name; a missing one is rendered as a dash."""

    def __missing__(self, name: str) -> str:
        return "-"


def message_of(outcome: Outcome) -> str | None:
    """Returns the message of an outcome's reason, or None if it has no reason."""
    if outcome.reason is None:
        return None
    facts = _Facts({name: _render_fact(fact) for name, fact in (outcome.details or {}).items()})
    return MESSAGES[outcome.reason].format_map(facts)


def _render_fact(value: object) -> object:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return "; ".join(
            _render_finding(item) if isinstance(item, Mapping) else str(item) for item in value
        )
    return value


def _render_finding(finding: Mapping[str, object]) -> str:
    value = finding.get("value")
    value_text = "" if value is None else f" ({value})"
    return f"{finding.get('field') or 'row'}{value_text}: {finding.get('rule')}"


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
    if outcome.details is not None:  # made by the rules, or decoded from their stored form
        dumped |= cast("OutcomeJson", outcome.details)
    if outcome.mode is not None:
        dumped["mode"] = outcome.mode
    if outcome.is_active is not None:
        dumped["is_active"] = outcome.is_active
    return dumped
