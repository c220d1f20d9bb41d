"""Decides one request against the current enrollment and the rules.

Fields that a change of higher precedence has set are dropped first; fields that are already as
requested change nothing; what is left is checked by the rules, in the order in which Open edX
checks them: of two faults the first one refuses.
"""

from datetime import datetime
from typing import NamedTuple

from enrollment.domain.codes import Code, Reason
from enrollment.domain.events import state_of
from enrollment.domain.model import Attribute, Course, Enrollment, Request, WritePrecedence
from enrollment.domain.rules import (
    LearnerContext,
    Refusal,
    current_or_default_mode,
    default_mode,
    refuse_attributes,
    refuse_cohort,
    refuse_entry,
    refuse_mode,
    refuse_when_full,
)

#: Bypasses `NamedTuple.__new__`, which is half of the per-row cost (decision 14).
_new = tuple.__new__


class EffectiveChange(NamedTuple):
    """The fields of a request that are still to be applied; None where there is none."""

    is_active: bool | None
    mode: str | None
    attributes: tuple[Attribute, ...] | None
    cohort: str | None


NO_CHANGE = EffectiveChange(None, None, None, None)


class Decision(NamedTuple):
    """The decision on one request; `enrollment` is None where nothing is written."""

    code: Code
    enrollment: Enrollment | None = None
    refusal: Refusal | None = None


class DecisionInput(NamedTuple):
    """The input of one decision; `current` is None where there is no enrollment."""

    request: Request
    course: Course
    seats_taken: int
    current: Enrollment | None
    learner_context: LearnerContext
    site_default: str
    now: datetime
    #: Whether another caller than the learner withdrew the current enrollment.
    withdrawn_by_other: bool = False


def _is_superseded(precedence: WritePrecedence, applied: WritePrecedence | None) -> bool:
    """Returns whether a field was set or confirmed with a higher precedence."""
    return applied is not None and precedence < applied


def _drop_superseded_fields(request: Request, current: Enrollment | None) -> EffectiveChange:
    """Drops each field that was set or confirmed with a higher precedence.

    Attributes and cohort are dropped together with the mode that they were stated with.
    """
    if current is None:
        return _new(
            EffectiveChange, (request.is_active, request.mode, request.attributes, request.cohort)
        )
    precedence = request.precedence
    is_late = request.mode is not None and _is_superseded(precedence, current.mode_precedence)
    remaining = (
        None if precedence < current.activity_precedence else request.is_active,
        None if is_late else request.mode,
        None
        if is_late or _is_superseded(precedence, current.attributes_precedence)
        else request.attributes,
        None
        if is_late or _is_superseded(precedence, current.cohort_precedence)
        else request.cohort,
    )
    return _new(EffectiveChange, remaining)


def _drop_forbidden_fields(
    change: EffectiveChange, request: Request, current: Enrollment | None
) -> EffectiveChange:
    """Drops what the caller may not change in an active enrollment (Open edX: Learner limits)."""
    if current is None or not current.is_active:
        return change
    if change.is_active is False and not request.rights.deactivate:
        change = change._replace(is_active=None)
    if change.mode not in {None, current.mode} and not request.rights.change_mode:
        change = change._replace(mode=None, attributes=None, cohort=None)
    return change


def _is_repeated(request: Request, current: Enrollment) -> bool:
    """Returns whether every stated field was applied at the same requested time, unchanged."""
    at = request.precedence.at
    return (
        (current.activity_precedence.at, current.is_active) == (at, request.is_active)
        and _is_same_field(request.mode, current.mode, current.mode_precedence, at)
        and _is_same_field(
            request.attributes, current.attributes, current.attributes_precedence, at
        )
        and _is_same_field(request.cohort, current.cohort, current.cohort_precedence, at)
    )


def _is_same_field(
    requested: object, applied: object, precedence: WritePrecedence | None, at: int
) -> bool:
    return requested is None or (
        requested == applied and precedence is not None and precedence.at == at
    )


def _is_already_applied(change: EffectiveChange, current: Enrollment) -> bool:
    return (
        (change.is_active is None or change.is_active == current.is_active)
        and (change.mode is None or change.mode == current.mode)
        and (change.attributes is None or change.attributes == current.attributes)
        and (change.cohort is None or change.cohort == current.cohort)
    )


def _apply(
    case: DecisionInput, change: EffectiveChange, *, is_active: bool, mode: str
) -> Enrollment:
    """Returns the enrollment after the change.

    Each field that the change sets or confirms takes the precedence of the request; a mode that is
    only defaulted or kept does not.
    """
    precedence, current = case.request.precedence, case.current
    new_activity, new_mode, new_attributes, new_cohort = change
    if current is None:
        new = (
            mode,
            is_active,
            case.now,
            precedence,
            None if new_mode is None else precedence,
            new_attributes or (),
            None if new_attributes is None else precedence,
            new_cohort,
            None if new_cohort is None else precedence,
        )
        return _new(Enrollment, new)
    _, _, created, by_activity, by_mode, attributes, by_attrs, cohort, by_cohort = current
    if new_activity is not None:
        by_activity = precedence
    if new_mode is not None:
        by_mode = precedence
    if new_attributes is not None:
        attributes, by_attrs = new_attributes, precedence
    if new_cohort is not None:
        cohort, by_cohort = new_cohort, precedence
    new = (mode, is_active, created, by_activity, by_mode, attributes, by_attrs, cohort, by_cohort)
    return _new(Enrollment, new)


def decide(case: DecisionInput) -> Decision:
    """Decides one request for a course that exists."""
    request, current = case.request, case.current
    remaining = _drop_superseded_fields(request, current)
    if current is None:
        change = remaining
    elif remaining == NO_CHANGE:
        return Decision(Code.UNCHANGED if _is_repeated(request, current) else Code.SUPERSEDED)
    else:
        change = _drop_forbidden_fields(remaining, request, current)
        if change == NO_CHANGE:
            return Decision(Code.UNCHANGED)
        if _is_already_applied(change, current):
            confirmed = _apply(case, change, is_active=current.is_active, mode=current.mode)
            return Decision(Code.UNCHANGED, confirmed)
    is_inactive = current is None or not current.is_active
    if change.is_active is False or (is_inactive and not request.is_active):
        return _deactivate(case, change)
    if current is None or (is_inactive and change.is_active):
        return _activate(case, change)
    return _update(case, change, current)


def _deactivate(case: DecisionInput, change: EffectiveChange) -> Decision:
    """Decides a withdrawal, which window, invitation, seats and expiry never refuse.

    Where there was no enrollment it creates an inactive one, with the stated mode, else the default
    mode, else the course's first.
    """
    request, course, current = case.request, case.course, case.current
    if current is not None and current.is_active and change.mode not in {None, current.mode}:
        details = {"active_mode": current.mode, "requested_mode": change.mode}
        return Decision(Code.REFUSED, refusal=Refusal(Reason.MODE_MISMATCH, details))
    mode = change.mode or (current.mode if current else None)
    if mode is None:
        mode = default_mode(course, request.effective_at, case.site_default)
    after = _apply(case, change, is_active=False, mode=mode or course.all_modes()[0].slug)
    refusal = refuse_attributes(current, change.attributes, after)
    if refusal is None and change.mode is not None and (current is None or mode != current.mode):
        refusal = refuse_mode(request, course, change.mode, lenient=True)
    refusal = refusal or refuse_cohort(course, change.cohort)
    if refusal is not None:
        return Decision(Code.REFUSED, refusal=refusal)
    if current is None or current.is_active:
        return Decision(Code.DEACTIVATED, after)
    return Decision(Code.MODE_CHANGED if after.mode != current.mode else Code.UPDATED, after)


def _activate(case: DecisionInput, change: EffectiveChange) -> Decision:
    """Decides an enrollment or a reactivation; every rule applies."""
    request, course, current = case.request, case.course, case.current
    mode = change.mode or current_or_default_mode(
        request,
        course,
        current,
        case.site_default,
        withdrawn_by_other=case.withdrawn_by_other,
    )
    lenient = (request.force and request.rights.force) or (
        current is not None and request.rights.use_expired
    )
    after = _apply(case, change, is_active=True, mode=mode or case.site_default)
    refusal = (
        refuse_attributes(current, change.attributes, after)
        or refuse_mode(request, course, after.mode, lenient=lenient)
        or refuse_entry(request, course, case.learner_context)
        or refuse_when_full(course, case.seats_taken)
        or refuse_cohort(course, change.cohort)
    )
    if refusal is not None:
        return Decision(Code.REFUSED, refusal=refusal)
    return Decision(Code.ENROLLED if current is None else Code.REACTIVATED, after)


def _update(case: DecisionInput, change: EffectiveChange, current: Enrollment) -> Decision:
    """Decides a change of mode, attributes or cohort; window and invitation do not apply."""
    request, course = case.request, case.course
    mode = change.mode or current.mode
    refusal = None
    if mode != current.mode:
        lenient = request.rights.use_expired or (request.force and request.rights.force)
        refusal = refuse_mode(request, course, mode, lenient=lenient)
    if refusal is not None and refusal.reason is Reason.MODE_EXPIRED and not request.is_active:
        # The withdrawal is superseded by a later reactivation, which an expired mode would have
        # refused: the enrollment keeps its mode.
        mode, refusal = current.mode, None
    after = _apply(case, change, is_active=current.is_active, mode=mode)
    refusal = (
        refuse_attributes(current, change.attributes, after)
        or refusal
        or refuse_cohort(course, change.cohort)
    )
    if refusal is not None:
        return Decision(Code.REFUSED, refusal=refusal)
    if mode != current.mode:
        return Decision(Code.MODE_CHANGED, after)
    is_same = state_of(after) == state_of(current)
    return Decision(Code.SUPERSEDED if is_same else Code.UPDATED, after)
