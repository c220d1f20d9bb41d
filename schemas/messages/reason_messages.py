"""Renders the reason of an outcome as a sentence, from the facts that explain it."""

from collections.abc import Mapping, Sequence
from string import Formatter

from enrollment.domain.codes import Reason
from enrollment.domain.model import Outcome
from schemas.messages.finding_messages import sentences_of

#: Messages by reason, from the one that names the most facts to one that names none. The first
#: one whose facts are known is used. Facts are the outcome's details, its user and its course.
REASON_TEXTS: Mapping[Reason, tuple[str, ...]] = {
    Reason.COURSE_NOT_FOUND: (
        "{errors}",
        "There is no course {course_id}: did you mean {nearest}?",
        "There is no course {course_id}: check the spelling, or create the course first.",
        "There is no course with this id: check the spelling, or create the course first.",
    ),
    Reason.LEARNER_NOT_FOUND: (
        "{errors}",
        "There is no learner {user}: check the spelling, or register the learner first.",
        "There is no such learner: check the spelling, or register the learner first.",
    ),
    Reason.ENROLLMENT_NOT_OPEN: (
        (
            "Enrollment in the course opens at {opens_at}: send the request again then, or "
            "invite the learner."
        ),
        (
            "Enrollment in the course has not opened: send the request again later, or invite "
            "the learner."
        ),
    ),
    Reason.ENROLLMENT_CLOSED: (
        (
            "Enrollment in the course was open until {closed_at}: invite the learner, or move "
            "the end of enrollment."
        ),
        "Enrollment in the course has ended: invite the learner, or move the end of enrollment.",
    ),
    Reason.INVITE_REQUIRED: (
        "The course accepts invited learners only: invite the learner first.",
    ),
    Reason.INVITE_USED: (
        (
            "Another learner has used the invitation of this e-mail address: delete the "
            "invitation, and create it again for the right learner."
        ),
    ),
    Reason.INVITE_EXPIRED: (
        "The invitation ended at {expired_at}: create it again with a later expires_at.",
        "The invitation has ended: create it again with a later expires_at.",
    ),
    Reason.COURSE_FULL: (
        "All seats are taken (capacity {capacity}): raise the capacity, or wait for a free seat.",
        "All seats are taken: raise the capacity, or wait for a free seat.",
    ),
    Reason.MODE_UNAVAILABLE: (
        "The course does not offer the mode {requested_mode}: choose one of {offered}.",
        "The course does not offer the mode {requested_mode}: choose one that it offers.",
        "The course does not offer the mode: choose one that it offers.",
    ),
    Reason.MODE_EXPIRED: (
        "The course offered the mode {requested_mode} until {expired_at}: choose one of {offered}.",
        (
            "The course offered the mode {requested_mode} until {expired_at}: choose another "
            "one, or move the deadline."
        ),
        "The course no longer offers the mode: choose another one, or move the deadline.",
    ),
    Reason.MODE_MISMATCH: (
        (
            "The learner is enrolled in the mode {active_mode}, not in {requested_mode}: to "
            "withdraw them, leave the mode out or write {active_mode}."
        ),
        "The learner is enrolled in another mode: to withdraw them, leave the mode out.",
    ),
    Reason.ATTRIBUTES_MISSING: (
        "The mode {requested_mode} needs {required}: send it in enrollment_attributes.",
        "The mode needs attributes: send them in enrollment_attributes.",
    ),
    Reason.COHORT_NOT_FOUND: (
        "The course has no cohort {cohort}: check the spelling, or add it to the course.",
        "The course has no such cohort: check the spelling, or add it to the course.",
    ),
    Reason.NOT_PERMITTED: (
        (
            "The caller has no permission for this request: use a key with the scope that it "
            "needs (requested_at needs admin), or leave out what needs it."
        ),
    ),
    Reason.INVALID_ROW: (
        "{errors}",
        "The row is invalid: correct it and send it again.",
    ),
    Reason.ABORTED: (
        (
            "Another row of this all-or-nothing file was refused or invalid: correct that one "
            "and send the whole file again."
        ),
    ),
    Reason.INTERNAL_ERROR: (
        "The request could not be processed because of an internal error: tell the operator.",
    ),
    Reason.ROLE_NOT_LEARNER: (
        "{field} is {value}: only learners are enrolled and withdrawn.",
        "The row is not about a learner: only learners are enrolled and withdrawn.",
    ),
    Reason.STATUS_NOT_APPLICABLE: (
        "{field} is {value}, which means neither to enroll nor to withdraw.",
        "The status of the row means neither to enroll nor to withdraw.",
    ),
    Reason.NOT_CURRENT: (
        "{field} is {value}: the record has ended, or is yet to begin.",
        "The record has ended, or is yet to begin.",
    ),
    Reason.KEPT_BY_OTHER_RECORD: (
        (
            "Another row of the file keeps the learner in the course: end that record as well "
            "to withdraw the learner."
        ),
    ),
}

#: Names of the facts in messages of each reason, in their order.
_FIELDS: Mapping[Reason, Sequence[tuple[str, frozenset[str]]]] = {
    reason: [
        (text, frozenset(name for _, name, _, _ in Formatter().parse(text) if name))
        for text in texts
    ]
    for reason, texts in REASON_TEXTS.items()
}


def message_of(outcome: Outcome) -> str | None:
    """Returns the message of an outcome's reason, or None if it has no reason."""
    if outcome.reason is None:
        return None
    facts = {"user": outcome.user, "course_id": outcome.course_id, **(outcome.details or {})}
    return render_reason(outcome.reason, facts)


def render_reason(reason: Reason, facts: Mapping[str, object]) -> str:
    """Returns the message that names the most of the facts that are known."""
    known = {name: text for name, fact in facts.items() if (text := _render_fact(fact))}
    return next(text.format_map(known) for text, names in _FIELDS[reason] if names <= known.keys())


def meaning_of_reason(reason: Reason) -> str:
    """Returns the message of a reason without any facts."""
    return REASON_TEXTS[reason][-1]


def _render_fact(value: object) -> str:
    """Returns a fact in words; empty if it is not known."""
    if value is None:
        return ""
    if not isinstance(value, list | tuple):
        return str(value)
    if value and isinstance(value[0], Mapping):
        return sentences_of(value)
    return ", ".join(map(str, value))
