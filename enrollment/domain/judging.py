"""Judging: what becomes of requests, one after the other, each seeing those before it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from enrollment.domain.codes import FAILURES, Code, Reason
from enrollment.domain.deciding import Case, Decision, decide
from enrollment.domain.events import KINDS, Change, standing
from enrollment.domain.model import (
    Course,
    Enrollment,
    Invitation,
    Learner,
    Outcome,
    Request,
)
from enrollment.domain.rules import NOBODY, Guest, Refusal

#: (course_id, username): what names an enrollment.
Key = tuple[str, str]

#: Outcomes after which an invitation is used.
_ADMITTED = frozenset({Code.ENROLLED, Code.REACTIVATED})


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


def after(world: World, judgement: Judgement) -> World:
    """The world once a judgement is true.

    Who became a learner by it is left out: the rules make no difference.
    """
    seats = {key: taken for key, taken in judgement.seats.items() if taken}
    courses = {
        key: replace(world.courses[key], seats_taken=world.courses[key].seats_taken + taken)
        for key, taken in seats.items()
    }
    used = {
        pair: world.invitations[pair]._replace(used_by=username)
        for pair, username in judgement.invitations_used.items()
    }
    return replace(
        world,
        courses={**world.courses, **courses},
        enrollments={**world.enrollments, **judgement.enrollments},
        invitations={**world.invitations, **used},
    )


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
        seats_taken = course.seats_taken + judgement.seats[course.course_id]
        case = Case(request, course, seats_taken, current, guest, world.site_default, world.now)
        decision = decide(case)
        if decision.enrollment is not None:
            _record(position, request, current, decision, judgement)
        if guest.invitation is not None and decision.code in _ADMITTED:
            _use_invitation(request, guest.invitation, judgement)
    judgement.outcomes.append(_outcome(request, decision, current))


def _guest(learner: Learner | None, request: Request, world: World, judgement: Judgement) -> Guest:
    if learner is None:
        return NOBODY
    if learner.email is None:
        return Guest(learner)
    key = (request.course_id, learner.email)
    invitation = world.invitations.get(key)
    if invitation is not None and key in judgement.invitations_used:
        invitation = invitation._replace(used_by=judgement.invitations_used[key])
    return Guest(learner, invitation)


def _use_invitation(request: Request, invitation: Invitation, judgement: Judgement) -> None:
    if invitation.used_by is not None:
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
