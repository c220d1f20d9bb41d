"""Deciding: what becomes of one request, given the enrollment as it is.

Fields for which a higher wish was heard already are dropped; what is true already changes
nothing; the rest meets the rules.
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

#: A tuple without the call of its class, which takes half of the time of what happens a row.
_new = tuple.__new__


class EffectiveChange(NamedTuple):
    """The fields of a request that still count; None where it says nothing."""

    is_active: bool | None
    mode: str | None
    attributes: tuple[Attribute, ...] | None
    cohort: str | None


NO_CHANGE = EffectiveChange(None, None, None, None)


class Decision(NamedTuple):
    """What becomes of one request; ``enrollment`` is None where nothing is written."""

    code: Code
    enrollment: Enrollment | None = None
    refusal: Refusal | None = None


class DecisionInput(NamedTuple):
    """Everything that one decision looks at."""

    request: Request
    course: Course
    seats_taken: int
    current: Enrollment | None
    learner_context: LearnerContext
    site_default: str
    now: datetime


def _is_superseded(clock: WritePrecedence, kept: WritePrecedence | None) -> bool:
    return kept is not None and clock < kept


def _drop_superseded_fields(request: Request, current: Enrollment | None) -> EffectiveChange:
    """Drop each field for which a higher wish was heard.

    Attributes and cohort go with the mode they were named with.
    """
    if current is None:
        return _new(
            EffectiveChange, (request.is_active, request.mode, request.attributes, request.cohort)
        )
    clock = request.precedence
    late = request.mode is not None and _is_superseded(clock, current.mode_precedence)
    heard = (
        None if clock < current.activity_precedence else request.is_active,
        None if late else request.mode,
        None
        if late or _is_superseded(clock, current.attributes_precedence)
        else request.attributes,
        None if late or _is_superseded(clock, current.cohort_precedence) else request.cohort,
    )
    return _new(EffectiveChange, heard)


def _drop_forbidden_fields(
    wish: EffectiveChange, request: Request, current: Enrollment | None
) -> EffectiveChange:
    """What an ordinary learner may not do to a running enrollment is no wish (upstream 3.6)."""
    if current is None or not current.is_active:
        return wish
    if wish.is_active is False and not request.rights.deactivate:
        wish = wish._replace(is_active=None)
    if wish.mode not in {None, current.mode} and not request.rights.change_mode:
        wish = wish._replace(mode=None, attributes=None, cohort=None)
    return wish


def _is_repeated(request: Request, current: Enrollment) -> bool:
    """True where all was heard already at the very moment asked, and nothing differs."""
    at = request.precedence.at
    return (
        (current.activity_precedence.at, current.is_active) == (at, request.is_active)
        and _is_same_field(request.mode, current.mode, current.mode_precedence, at)
        and _is_same_field(
            request.attributes, current.attributes, current.attributes_precedence, at
        )
        and _is_same_field(request.cohort, current.cohort, current.cohort_precedence, at)
    )


def _is_same_field(asked: object, kept: object, clock: WritePrecedence | None, at: int) -> bool:
    return asked is None or (asked == kept and clock is not None and clock.at == at)


def _is_already_applied(wish: EffectiveChange, current: Enrollment) -> bool:
    return (
        (wish.is_active is None or wish.is_active == current.is_active)
        and (wish.mode is None or wish.mode == current.mode)
        and (wish.attributes is None or wish.attributes == current.attributes)
        and (wish.cohort is None or wish.cohort == current.cohort)
    )


def _apply(case: DecisionInput, wish: EffectiveChange, *, is_active: bool, mode: str) -> Enrollment:
    """The enrollment after the wish: every field that was set or confirmed takes its rank."""
    clock, current = case.request.precedence, case.current
    active, by_mode, by_attributes, by_cohort = wish
    if current is None:
        new = (
            mode,
            is_active,
            case.now,
            clock,
            None if by_mode is None else clock,
            by_attributes or (),
            None if by_attributes is None else clock,
            by_cohort,
            None if by_cohort is None else clock,
        )
        return _new(Enrollment, new)
    _, _, created, activity_clock, mode_clock, attributes, given, cohort, chosen = current
    if active is not None:
        activity_clock = clock
    if by_mode is not None:
        mode_clock = clock
    if by_attributes is not None:
        attributes, given = by_attributes, clock
    if by_cohort is not None:
        cohort, chosen = by_cohort, clock
    kept = (mode, is_active, created, activity_clock, mode_clock, attributes, given, cohort, chosen)
    return _new(Enrollment, kept)


def decide(case: DecisionInput) -> Decision:
    """Answer one request for a course that exists."""
    request, current = case.request, case.current
    heard = _drop_superseded_fields(request, current)
    if current is None:
        wish = heard
    elif heard == NO_CHANGE:
        return Decision(Code.UNCHANGED if _is_repeated(request, current) else Code.SUPERSEDED)
    else:
        wish = _drop_forbidden_fields(heard, request, current)
        if wish == NO_CHANGE:
            return Decision(Code.UNCHANGED)
        if _is_already_applied(wish, current):
            kept = _apply(case, wish, is_active=current.is_active, mode=current.mode)
            return Decision(Code.UNCHANGED, kept)
    away = current is None or not current.is_active
    if wish.is_active is False or (away and not request.is_active):
        return _deactivate(case, wish)
    if current is None or (away and wish.is_active):
        return _activate(case, wish)
    return _update(case, wish, current)


def _deactivate(case: DecisionInput, wish: EffectiveChange) -> Decision:
    """Withdrawing takes nothing from anybody; where there was no record it makes one."""
    request, course, current = case.request, case.course, case.current
    if current is not None and current.is_active and wish.mode not in {None, current.mode}:
        facts = {"active_mode": current.mode, "requested_mode": wish.mode}
        return Decision(Code.REFUSED, refusal=Refusal(Reason.MODE_MISMATCH, facts))
    refusal = refuse_cohort(course, wish.cohort)
    mode = wish.mode or (current.mode if current else None)
    if wish.mode is not None and (current is None or wish.mode != current.mode):
        refusal = refuse_mode(request, course, wish.mode, lenient=True) or refusal
    if refusal is not None:
        return Decision(Code.REFUSED, refusal=refusal)
    if mode is None:
        mode = default_mode(course, request.effective_at, case.site_default)
    after = _apply(case, wish, is_active=False, mode=mode or course.all_modes()[0].slug)
    if current is None or current.is_active:
        return Decision(Code.DEACTIVATED, after)
    return Decision(Code.MODE_CHANGED if after.mode != current.mode else Code.UPDATED, after)


def _activate(case: DecisionInput, wish: EffectiveChange) -> Decision:
    """Coming, and coming back, meet every rule."""
    request, course, current = case.request, case.course, case.current
    mode = wish.mode or current_or_default_mode(request, course, current, case.site_default)
    lenient = (request.force and request.rights.force) or (
        current is not None and request.rights.use_expired
    )
    refusal = (
        refuse_entry(request, course, case.learner_context)
        or refuse_mode(request, course, mode or case.site_default, lenient=lenient)
        or refuse_when_full(course, case.seats_taken)
    )
    after = _apply(case, wish, is_active=True, mode=mode or case.site_default)
    refusal = (
        refusal
        or refuse_attributes(after.mode, after.attributes)
        or refuse_cohort(course, wish.cohort)
    )
    if refusal is not None:
        return Decision(Code.REFUSED, refusal=refusal)
    return Decision(Code.ENROLLED if current is None else Code.REACTIVATED, after)


def _update(case: DecisionInput, wish: EffectiveChange, current: Enrollment) -> Decision:
    """A change of mode, attributes or cohort, active or not; nobody asks the window."""
    request, course = case.request, case.course
    mode = wish.mode or current.mode
    refusal = None
    if mode != current.mode:
        lenient = request.rights.use_expired or (request.force and request.rights.force)
        refusal = refuse_mode(request, course, mode, lenient=lenient)
    if refusal is not None and refusal.reason is Reason.MODE_EXPIRED and not request.is_active:
        # Withdrawn in that mode and back since: nobody comes back into an expired mode.
        mode, refusal = current.mode, None
    after = _apply(case, wish, is_active=current.is_active, mode=mode)
    refusal = (
        refusal
        or refuse_attributes(after.mode, after.attributes)
        or refuse_cohort(course, wish.cohort)
    )
    if refusal is not None:
        return Decision(Code.REFUSED, refusal=refusal)
    if mode != current.mode:
        return Decision(Code.MODE_CHANGED, after)
    same = state_of(after) == state_of(current)
    return Decision(Code.SUPERSEDED if same else Code.UPDATED, after)
