"""Judging: what becomes of requests, one after the other, each seeing those before it.

One request is compared with the enrollment as it is: fields for which a higher wish was
heard already are dropped; what is true already changes nothing; the rest meets the rules.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from enrollment.domain.codes import FAILURES, Code, Reason
from enrollment.domain.events import KINDS, Change, standing
from enrollment.domain.model import (
    Attribute,
    Clock,
    Course,
    Enrollment,
    Invitation,
    Learner,
    Outcome,
    Request,
)
from enrollment.domain.rules import (
    Guest,
    Refusal,
    default_mode,
    kept_mode,
    refuse_attributes,
    refuse_cohort,
    refuse_entry,
    refuse_mode,
    refuse_when_full,
)

#: (course_id, username): what names an enrollment.
Key = tuple[str, str]


class Wish(NamedTuple):
    """The fields of a request that still count; None where it says nothing."""

    is_active: bool | None
    mode: str | None
    attributes: tuple[Attribute, ...] | None
    cohort: str | None


NOTHING = Wish(None, None, None, None)


class Decision(NamedTuple):
    """What becomes of one request; ``enrollment`` is None where nothing is written."""

    code: Code
    enrollment: Enrollment | None = None
    refusal: Refusal | None = None


class Case(NamedTuple):
    """Everything that one decision looks at."""

    request: Request
    course: Course
    seats_taken: int
    current: Enrollment | None
    guest: Guest
    site_default: str
    now: datetime


def _outranked(clock: Clock, kept: Clock | None) -> bool:
    return kept is not None and clock < kept


def _still_counts(request: Request, current: Enrollment | None) -> Wish:
    """Drop each field for which a higher wish was heard.

    Attributes and cohort go with the mode they were named with.
    """
    if current is None:
        return Wish(request.is_active, request.mode, request.attributes, request.cohort)
    clock = request.clock
    late = request.mode is not None and _outranked(clock, current.mode_clock)
    return Wish(
        None if clock < current.activity_clock else request.is_active,
        None if late else request.mode,
        None if late or _outranked(clock, current.attributes_clock) else request.attributes,
        None if late or _outranked(clock, current.cohort_clock) else request.cohort,
    )


def _permitted(wish: Wish, request: Request, current: Enrollment | None) -> Wish:
    """What an ordinary learner may not do to a running enrollment is no wish (upstream 3.6)."""
    if current is None or not current.is_active:
        return wish
    if wish.is_active is False and not request.rights.deactivate:
        wish = wish._replace(is_active=None)
    if wish.mode not in {None, current.mode} and not request.rights.change_mode:
        wish = wish._replace(mode=None, attributes=None, cohort=None)
    return wish


def _only_ties(request: Request, current: Enrollment) -> bool:
    """True where all was heard already at the very moment asked, and nothing differs."""
    at = request.clock.at
    return (
        (current.activity_clock.at, current.is_active) == (at, request.is_active)
        and _same(request.mode, current.mode, current.mode_clock, at)
        and _same(request.attributes, current.attributes, current.attributes_clock, at)
        and _same(request.cohort, current.cohort, current.cohort_clock, at)
    )


def _same(asked: object, kept: object, clock: Clock | None, at: int) -> bool:
    return asked is None or (asked == kept and clock is not None and clock.at == at)


def _is_true_already(wish: Wish, current: Enrollment) -> bool:
    return (
        wish.is_active in {None, current.is_active}
        and wish.mode in {None, current.mode}
        and (wish.attributes is None or wish.attributes == current.attributes)
        and wish.cohort in {None, current.cohort}
    )


def _written(case: Case, wish: Wish, *, is_active: bool, mode: str) -> Enrollment:
    """The enrollment after the wish: every field that was set or confirmed takes its rank."""
    clock, current = case.request.clock, case.current
    if current is None:
        return Enrollment(
            mode=mode,
            is_active=is_active,
            created=case.now,
            activity_clock=clock,
            mode_clock=None if wish.mode is None else clock,
            attributes=wish.attributes or (),
            attributes_clock=None if wish.attributes is None else clock,
            cohort=wish.cohort,
            cohort_clock=None if wish.cohort is None else clock,
        )
    return Enrollment(
        mode=mode,
        is_active=is_active,
        created=current.created,
        activity_clock=current.activity_clock if wish.is_active is None else clock,
        mode_clock=current.mode_clock if wish.mode is None else clock,
        attributes=current.attributes if wish.attributes is None else wish.attributes,
        attributes_clock=current.attributes_clock if wish.attributes is None else clock,
        cohort=current.cohort if wish.cohort is None else wish.cohort,
        cohort_clock=current.cohort_clock if wish.cohort is None else clock,
    )


def decide(case: Case) -> Decision:
    """Answer one request for a course that exists."""
    request, current = case.request, case.current
    heard = _still_counts(request, current)
    if current is None:
        wish = heard
    elif heard == NOTHING:
        return Decision(Code.UNCHANGED if _only_ties(request, current) else Code.SUPERSEDED)
    else:
        wish = _permitted(heard, request, current)
        if wish == NOTHING:
            return Decision(Code.UNCHANGED)
        if _is_true_already(wish, current):
            kept = _written(case, wish, is_active=current.is_active, mode=current.mode)
            return Decision(Code.UNCHANGED, kept)
    away = current is None or not current.is_active
    if wish.is_active is False or (away and not request.is_active):
        return _withdraw(case, wish)
    if current is None or (away and wish.is_active):
        return _admit(case, wish)
    return _amend(case, wish, current)


def _withdraw(case: Case, wish: Wish) -> Decision:
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
        mode = default_mode(course, request.asked_at, case.site_default)
    after = _written(case, wish, is_active=False, mode=mode or course.all_modes()[0].slug)
    if current is None or current.is_active:
        return Decision(Code.DEACTIVATED, after)
    return Decision(Code.MODE_CHANGED if after.mode != current.mode else Code.UPDATED, after)


def _admit(case: Case, wish: Wish) -> Decision:
    """Coming, and coming back, meet every rule."""
    request, course, current = case.request, case.course, case.current
    mode = wish.mode or kept_mode(request, course, current, case.site_default)
    lenient = (request.force and request.rights.force) or (
        current is not None and request.rights.use_expired
    )
    refusal = (
        refuse_entry(request, course, case.guest)
        or refuse_mode(request, course, mode or case.site_default, lenient=lenient)
        or refuse_when_full(course, case.seats_taken)
    )
    after = _written(case, wish, is_active=True, mode=mode or case.site_default)
    refusal = (
        refusal
        or refuse_attributes(after.mode, after.attributes)
        or refuse_cohort(course, wish.cohort)
    )
    if refusal is not None:
        return Decision(Code.REFUSED, refusal=refusal)
    return Decision(Code.ENROLLED if current is None else Code.REACTIVATED, after)


def _amend(case: Case, wish: Wish, current: Enrollment) -> Decision:
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
    after = _written(case, wish, is_active=current.is_active, mode=mode)
    refusal = (
        refusal
        or refuse_attributes(after.mode, after.attributes)
        or refuse_cohort(course, wish.cohort)
    )
    if refusal is not None:
        return Decision(Code.REFUSED, refusal=refusal)
    if mode != current.mode:
        return Decision(Code.MODE_CHANGED, after)
    same = standing(after) == standing(current)
    return Decision(Code.SUPERSEDED if same else Code.UPDATED, after)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What stands before a batch is judged."""

    #: When the batch is judged; only the creation date of new records looks at it.
    now: datetime
    courses: Mapping[str, Course]
    enrollments: Mapping[Key, Enrollment] = field(default_factory=dict)
    learners: Mapping[str, Learner] = field(default_factory=dict)
    #: By (course_id, e-mail in lower case).
    invitations: Mapping[Key, Invitation] = field(default_factory=dict)
    site_default: str = "audit"
    #: False: who is not among the learners is refused.
    accepts_unknown_learners: bool = True


@dataclass(slots=True)
class Judgement:
    """What a batch comes to: the outcomes in order, and what is to be written."""

    outcomes: list[Outcome] = field(default_factory=list)
    #: Every enrollment that was written, as it is at the end.
    enrollments: dict[Key, Enrollment] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    #: Seats taken (or given back, if negative) by course; every course with a change is there.
    seats: Counter[str] = field(default_factory=Counter)
    #: Invitations used: (course_id, e-mail) to the learner who used it.
    invitations_used: dict[Key, str] = field(default_factory=dict)


def judge(requests: Iterable[Request], world: World) -> Judgement:
    """Answer requests in order, each seeing what the ones before it changed."""
    judgement = Judgement()
    for position, request in enumerate(requests):
        _answer(position, request, world, judgement)
    return judgement


def judge_atomically(requests: Iterable[Request], world: World, unreadable: int = 0) -> Judgement:
    """All or nothing: one refused row, or an unreadable one, refuses every other."""
    judgement = judge(requests, world)
    if not unreadable and not any(o.code in FAILURES for o in judgement.outcomes):
        return judgement
    return Judgement(outcomes=[aborted(outcome) for outcome in judgement.outcomes])


def aborted(outcome: Outcome) -> Outcome:
    """The outcome of a row that others in its file spoiled; failures keep their own reason.

    What earlier rows of the file did was taken back, so no row says how things stand.
    """
    outcome = outcome._replace(mode=None, is_active=None)
    if outcome.code in FAILURES:
        return outcome
    return outcome._replace(code=Code.REFUSED, reason=Reason.ABORTED, details=None)


def _answer(position: int, request: Request, world: World, judgement: Judgement) -> None:
    course = world.courses.get(request.course_id)
    key = (request.course_id, request.username)
    current = judgement.enrollments.get(key) or world.enrollments.get(key)
    learner = world.learners.get(request.username)
    if learner is None and not world.accepts_unknown_learners:
        decision = Decision(Code.REFUSED, refusal=Refusal(Reason.LEARNER_NOT_FOUND))
    elif course is None:
        decision = Decision(Code.REFUSED, refusal=Refusal(Reason.COURSE_NOT_FOUND))
    else:
        guest = _guest(learner, request, world, judgement)
        case = Case(
            request=request,
            course=course,
            seats_taken=course.seats_taken + judgement.seats[course.course_id],
            current=current,
            guest=guest,
            site_default=world.site_default,
            now=world.now,
        )
        decision = decide(case)
        _record(position, request, current, decision, judgement)
        if decision.code in {Code.ENROLLED, Code.REACTIVATED}:
            _use_invitation(request, guest, judgement)
    judgement.outcomes.append(_outcome(request, decision, current))


def _guest(learner: Learner | None, request: Request, world: World, judgement: Judgement) -> Guest:
    if learner is None:
        return Guest()
    if learner.email is None:
        return Guest(learner)
    key = (request.course_id, learner.email)
    invitation = world.invitations.get(key)
    if invitation is not None and key in judgement.invitations_used:
        invitation = invitation._replace(used_by=judgement.invitations_used[key])
    return Guest(learner, invitation)


def _use_invitation(request: Request, guest: Guest, judgement: Judgement) -> None:
    invitation = guest.invitation
    if invitation is None or invitation.used_by is not None:
        return
    if invitation.expires_at is None or invitation.expires_at >= request.asked_at:
        key = (invitation.course_id, invitation.email)
        judgement.invitations_used[key] = request.username


def _record(
    position: int,
    request: Request,
    current: Enrollment | None,
    decision: Decision,
    judgement: Judgement,
) -> None:
    after = decision.enrollment
    if after is None:
        return
    judgement.enrollments[request.course_id, request.username] = after
    kind = KINDS.get(decision.code)
    if kind is None:
        return
    before = None if current is None else standing(current)
    judgement.changes.append(
        Change(position, request.username, request.course_id, kind, before, standing(after))
    )
    was_active = current is not None and current.is_active
    judgement.seats[request.course_id] += after.is_active - was_active


def _outcome(request: Request, decision: Decision, current: Enrollment | None) -> Outcome:
    stands = decision.enrollment or current
    refusal = decision.refusal
    return Outcome(
        request.line,
        request.username,
        request.course_id,
        decision.code,
        None if refusal is None else refusal.reason,
        None if refusal is None else refusal.details,
        None if stands is None else stands.mode,
        None if stands is None else stands.is_active,
    )
