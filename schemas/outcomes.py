"""Outcomes: kept as one compact value a batch, shown as objects or as columns of a file."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from enrollment.domain.codes import Code, Reason
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import Tally
from schemas.compact import pack_json, unpack_json

_CODES = {code.value: code for code in Code}
_REASONS = {reason.value: reason for reason in Reason}


def encode_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """The outcomes of a batch as one value, in order."""
    return pack_json(list(map(tuple, outcomes)))


def decode_outcomes(kept: bytes) -> list[Outcome]:
    """The outcomes out of the value that was kept."""
    rows: Any = unpack_json(kept)
    return [
        Outcome(
            row[0], row[1], row[2], _CODES[row[3]], _REASONS.get(row[4]), row[5], row[6], row[7]
        )
        for row in rows
    ]


def tally_outcomes(outcomes: Iterable[Outcome]) -> Tally:
    """How many came to what."""
    counts: Counter[Code] = Counter()
    reasons: Counter[str] = Counter()
    for outcome in outcomes:
        counts[outcome.code] += 1
        if outcome.reason is not None:
            reasons[outcome.reason.value] += 1
    return Tally(counts=counts, reasons=reasons)


#: What each reason says to people; braces are filled from the facts behind it.
MESSAGES: Mapping[Reason, str] = {
    Reason.COURSE_NOT_FOUND: "There is no course with this id.",
    Reason.LEARNER_NOT_FOUND: "There is no such learner.",
    Reason.ENROLLMENT_NOT_OPEN: "Enrollment opens at {opens_at}.",
    Reason.ENROLLMENT_CLOSED: "Enrollment closed at {closed_at}.",
    Reason.INVITE_REQUIRED: "The course takes invited learners only.",
    Reason.INVITE_USED: "The invitation was used by another learner.",
    Reason.INVITE_EXPIRED: "The invitation expired at {expired_at}.",
    Reason.COURSE_FULL: "All {capacity} seats are taken.",
    Reason.MODE_UNAVAILABLE: "The course does not offer the mode {requested_mode}.",
    Reason.MODE_EXPIRED: "The mode {requested_mode} could be taken until {expired_at}.",
    Reason.MODE_MISMATCH: (
        "Enrollment mode mismatch: active mode={active_mode}, "
        "requested mode={requested_mode}. Won't deactivate."
    ),
    Reason.ATTRIBUTES_MISSING: "The mode {requested_mode} needs the attributes {required}.",
    Reason.COHORT_NOT_FOUND: "The course has no cohort {cohort}.",
    Reason.NOT_PERMITTED: "The caller may not ask for this.",
    Reason.INVALID_ROW: "The row cannot be read: {errors}.",
    Reason.ABORTED: "Another row of the submission was refused, and it was all or nothing.",
    Reason.INTERNAL_ERROR: "The request could not be judged; the fault is ours.",
}


class _Facts(dict[str, object]):
    """Facts by name; one that is missing reads as a dash."""

    def __missing__(self, name: str) -> str:
        return "-"


def message_of(outcome: Outcome) -> str | None:
    """The reason in a sentence, None where there is no reason."""
    if outcome.reason is None:
        return None
    facts = _Facts({name: _fact(value) for name, value in (outcome.details or {}).items()})
    return MESSAGES[outcome.reason].format_map(facts)


def _fact(value: object) -> object:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return "; ".join(
            _finding(item) if isinstance(item, Mapping) else str(item) for item in value
        )
    return value


def _finding(finding: Mapping[str, object]) -> str:
    value = finding.get("value")
    shown = "" if value is None else f" ({value})"
    return f"{finding.get('field') or 'row'}{shown}: {finding.get('rule')}"


def dump_outcome(outcome: Outcome) -> dict[str, Any]:
    """The outcome as callers see it; members without a value are left out."""
    shown: dict[str, Any] = {
        "line": outcome.line,
        "user": outcome.user,
        "course_id": outcome.course_id,
        "outcome": outcome.code.value,
    }
    if outcome.reason is not None:
        shown["reason"] = outcome.reason.value
        shown["message"] = message_of(outcome)
    if outcome.details is not None:
        shown |= outcome.details
    if outcome.mode is not None:
        shown["mode"] = outcome.mode
    if outcome.is_active is not None:
        shown["is_active"] = outcome.is_active
    return shown
