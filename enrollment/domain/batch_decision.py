"""Judging: what becomes of requests, one after the other, each seeing those before it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from enrollment.domain.codes import FAILURE_CODES, ChangeKind, Code, Reason
from enrollment.domain.decision import Decision, DecisionInput, decide
from enrollment.domain.events import CHANGE_KIND_BY_CODE, Change, EnrollmentState, state_of
from enrollment.domain.model import (
    Course,
    Enrollment,
    Invitation,
    Learner,
    Outcome,
    Request,
    WritePrecedence,
)
from enrollment.domain.rules import NO_LEARNER, LearnerContext, Refusal

#: (course_id, username): what names an enrollment.
EnrollmentKey = tuple[str, str]

#: Outcomes after which an invitation is used.
_USES_INVITATION = frozenset({Code.ENROLLED, Code.REACTIVATED})
#: A tuple without the call of its class, which takes half of the time of what happens a row.
_new = tuple.__new__
#: Reason and details, mode and activity, where there are none.
_NO_REASON = _NOTHING = (None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchContext:
    """What stands before a batch is judged."""

    #: When the batch is judged; only the creation date of new records looks at it.
    now: datetime
    courses: Mapping[str, Course]
    enrollments: Mapping[EnrollmentKey, Enrollment] = field(default_factory=dict)
    learners: Mapping[str, Learner] = field(default_factory=dict)
    #: By (course_id, e-mail in lower case).
    invitations: Mapping[EnrollmentKey, Invitation] = field(default_factory=dict)
    site_default: str = "audit"
    #: False: who is not among the learners is refused.
    accepts_unknown_learners: bool = True


@dataclass(slots=True)
class BatchDecision:
    """What a batch comes to: the outcomes in order, and what is to be written."""

    outcomes: list[Outcome] = field(default_factory=list)
    #: Every enrollment that was written, as it is at the end.
    enrollments: dict[EnrollmentKey, Enrollment] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    #: Seats taken (or given back, if negative) by course; every course with a change is there.
    seats: Counter[str] = field(default_factory=Counter)
    #: Invitations used: (course_id, e-mail) to the learner who used it.
    invitations_used: dict[EnrollmentKey, str] = field(default_factory=dict)


def decide_batch(requests: Iterable[Request], world: BatchContext) -> BatchDecision:
    """Answer requests in order, each seeing what the ones before it changed."""
    judgement = BatchDecision()
    newcomers = _NewEnrollmentMemo(world, judgement)
    for position, request in enumerate(requests):
        if not newcomers.answer(position, request):
            _decide_one(position, request, world, judgement)
    return judgement


def decide_all_or_nothing(
    requests: Iterable[Request], world: BatchContext, unreadable: int = 0
) -> BatchDecision:
    """All or nothing: one refused row, or an unreadable one, refuses every other."""
    judgement = decide_batch(requests, world)
    if not unreadable and not any(o.code in FAILURE_CODES for o in judgement.outcomes):
        return judgement
    return BatchDecision(outcomes=[abort_outcome(outcome) for outcome in judgement.outcomes])


def abort_outcome(outcome: Outcome) -> Outcome:
    """The outcome of a row that others in its file spoiled; failures keep their own reason.

    What earlier rows of the file did was taken back, so no row says how things stand.
    """
    outcome = outcome._replace(mode=None, is_active=None)
    if outcome.code in FAILURE_CODES:
        return outcome
    return outcome._replace(code=Code.REFUSED, reason=Reason.ABORTED, details=None)


class _MemoEntry(NamedTuple):
    """What becomes of those whom nothing tells apart, but for name, line and rank."""

    enrollment: Enrollment | None
    kind: ChangeKind | None
    after: EnrollmentState | None
    #: The outcome from its code on.
    outcome: tuple[Any, ...]


class _NewEnrollmentMemo:
    """Answers newcomers: all who ask for the same at the same moment fare alike.

    In a long file they are nearly all of it, and what is decided once is not decided again.
    """

    def __init__(self, world: BatchContext, judgement: BatchDecision) -> None:
        self._world = world
        self._judgement = judgement
        self._learners, self._standing = world.learners, world.enrollments
        self._known: dict[tuple[object, ...], _MemoEntry | None] = {}

    def answer(self, position: int, request: Request) -> bool:
        """Answer a newcomer whom nothing tells from others, in a course without a seat cap.

        False: it is another case, and not answered.
        """
        line, username, course_id, asked_at, clock, *wish = request
        key = (course_id, username)
        judgement = self._judgement
        if key in judgement.enrollments or key in self._standing:
            return False
        asked = (course_id, asked_at, *wish)
        fare = self._known.get(asked)
        if fare is None:
            if asked in self._known:
                return False
            fare = self._known[asked] = self._fare(request)
            if fare is None:
                return False
        learner = self._learners.get(username)
        if learner is None:
            if not self._world.accepts_unknown_learners:
                return False
        elif not _learner_context(learner, request, self._world, judgement).is_ordinary:
            return False
        enrollment, kind, after, told = fare
        if enrollment is not None:
            judgement.enrollments[key] = _with_precedence(enrollment, clock)
            if kind is not None:
                what = (position, username, course_id, kind, None, after)
                judgement.changes.append(_new(Change, what))
                judgement.seats[course_id] += enrollment.is_active
        judgement.outcomes.append(_new(Outcome, (line, username, course_id, *told)))
        return True

    def _fare(self, request: Request) -> _MemoEntry | None:
        world = self._world
        course = world.courses.get(request.course_id)
        if course is None or course.capacity is not None:
            return None
        case = DecisionInput(request, course, 0, None, NO_LEARNER, world.site_default, world.now)
        decision = decide(case)
        enrollment = decision.enrollment
        return _MemoEntry(
            enrollment,
            CHANGE_KIND_BY_CODE.get(decision.code),
            None if enrollment is None else state_of(enrollment),
            _outcome(request, decision, None)[3:],
        )


def _with_precedence(new: Enrollment, clock: WritePrecedence) -> Enrollment:
    """A new enrollment with another rank in the place of each that it has."""
    mode, is_active, created, _, by_mode, attributes, by_attributes, cohort, by_cohort = new
    return _new(
        Enrollment,
        (
            mode,
            is_active,
            created,
            clock,
            by_mode and clock,
            attributes,
            by_attributes and clock,
            cohort,
            by_cohort and clock,
        ),
    )


def _decide_one(
    position: int, request: Request, world: BatchContext, judgement: BatchDecision
) -> None:
    course_id, username = request.course_id, request.username
    course = world.courses.get(course_id)
    key = (course_id, username)
    current = judgement.enrollments.get(key) or world.enrollments.get(key)
    learner = world.learners.get(username)
    if learner is None and not world.accepts_unknown_learners:
        decision = Decision(Code.REFUSED, refusal=Refusal(Reason.LEARNER_NOT_FOUND))
    elif course is None:
        decision = Decision(Code.REFUSED, refusal=Refusal(Reason.COURSE_NOT_FOUND))
    else:
        guest = _learner_context(learner, request, world, judgement)
        seats_taken = course.seats_taken + judgement.seats[course_id]
        case = (request, course, seats_taken, current, guest, world.site_default, world.now)
        decision = decide(_new(DecisionInput, case))
        if decision.enrollment is not None:
            _record(position, request, current, decision, judgement)
        if guest.invitation is not None and decision.code in _USES_INVITATION:
            _use_invitation(request, guest.invitation, judgement)
    judgement.outcomes.append(_outcome(request, decision, current))


def _learner_context(
    learner: Learner | None, request: Request, world: BatchContext, judgement: BatchDecision
) -> LearnerContext:
    if learner is None:
        return NO_LEARNER
    if learner.email is None:
        return LearnerContext(learner)
    key = (request.course_id, learner.email)
    invitation = world.invitations.get(key)
    if invitation is not None and key in judgement.invitations_used:
        invitation = invitation._replace(used_by=judgement.invitations_used[key])
    return LearnerContext(learner, invitation)


def _use_invitation(request: Request, invitation: Invitation, judgement: BatchDecision) -> None:
    if invitation.used_by is not None:
        return
    if invitation.expires_at is None or invitation.expires_at >= request.effective_at:
        key = (invitation.course_id, invitation.email)
        judgement.invitations_used[key] = request.username


def _record(
    position: int,
    request: Request,
    current: Enrollment | None,
    decision: Decision,
    judgement: BatchDecision,
) -> None:
    after = decision.enrollment
    if after is None:
        return
    judgement.enrollments[request.course_id, request.username] = after
    kind = CHANGE_KIND_BY_CODE.get(decision.code)
    if kind is None:
        return
    before = None if current is None else state_of(current)
    what = (position, request.username, request.course_id, kind, before, state_of(after))
    judgement.changes.append(_new(Change, what))
    was_active = current is not None and current.is_active
    judgement.seats[request.course_id] += after.is_active - was_active


def _outcome(request: Request, decision: Decision, current: Enrollment | None) -> Outcome:
    code, enrollment, refusal = decision
    stands = enrollment or current
    why = _NO_REASON if refusal is None else refusal
    how = _NOTHING if stands is None else stands[:2]
    return _new(Outcome, (request.line, request.username, request.course_id, code, *why, *how))
