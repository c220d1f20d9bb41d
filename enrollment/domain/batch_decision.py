"""Decides the requests of a batch in order; each sees the changes of those before it."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
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
)
from enrollment.domain.rules import NO_LEARNER, LearnerContext, Refusal

#: Identifies an enrollment: (course_id, username).
EnrollmentKey = tuple[str, str]

#: Outcomes that use up an invitation.
_USES_INVITATION = frozenset({Code.ENROLLED, Code.REACTIVATED})
#: Bypasses `NamedTuple.__new__`, which is half of the per-row cost (decision 14).
_new = tuple.__new__
#: Reason and details of an outcome without a reason.
_NO_REASON = (None, None)
#: Mode and activity of an outcome without an enrollment.
_NO_STATE = (None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchContext:
    """The state of the database and the settings that a batch is decided with."""

    #: When the batch is processed; used only as the creation date of new enrollments.
    now: datetime
    courses: Mapping[str, Course]
    enrollments: Mapping[EnrollmentKey, Enrollment] = field(default_factory=dict)
    learners: Mapping[str, Learner] = field(default_factory=dict)
    #: Keys are (course_id, e-mail in its canonical form).
    invitations: Mapping[EnrollmentKey, Invitation] = field(default_factory=dict)
    #: Enrollments of learners who are on the staff of the course; at least those that window and
    #: invitation would refuse.
    course_staff: Collection[EnrollmentKey] = frozenset()
    #: Inactive enrollments in paid modes that another caller than the learner withdrew.
    withdrawn_by_others: Collection[EnrollmentKey] = frozenset()
    site_default: str = "audit"
    #: False: requests of learners that are not in `learners` are refused.
    accepts_unknown_learners: bool = True


@dataclass(slots=True)
class BatchDecision:
    """The result of a batch: its outcomes in order, and the changes to write."""

    outcomes: list[Outcome] = field(default_factory=list)
    #: The final state of each enrollment to write.
    enrollments: dict[EnrollmentKey, Enrollment] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    #: Change in the number of seats taken, by course id. Has every course with a change, even of 0.
    seats: Counter[str] = field(default_factory=Counter)
    #: Username that used each invitation; keys are (course_id, e-mail).
    invitations_used: dict[EnrollmentKey, str] = field(default_factory=dict)
    #: Whether a failure refused all requests of an all-or-nothing submission.
    is_aborted: bool = False
    #: Whether the latest change in this batch is by another caller than the learner.
    changed_by_other: dict[EnrollmentKey, bool] = field(default_factory=dict, compare=False)


def decide_batch(requests: Iterable[Request], context: BatchContext) -> BatchDecision:
    """Decides the requests in order; each sees the changes of those before it."""
    result = BatchDecision()
    memo = _NewEnrollmentMemo(context, result)
    for position, request in enumerate(requests):
        if not memo.decide_fast(position, request):
            _decide_one(position, request, context, result)
    return result


def decide_all_or_nothing(
    requests: Iterable[Request], context: BatchContext, unreadable: int = 0
) -> BatchDecision:
    """Decides the requests as one unit: if any fails, all others are refused as `aborted`.

    `unreadable` is the number of its rows that failed before any decision; any fails the unit too.
    """
    result = decide_batch(requests, context)
    if not unreadable and not any(o.code in FAILURE_CODES for o in result.outcomes):
        return result
    aborted = [abort_outcome(outcome) for outcome in result.outcomes]
    return BatchDecision(outcomes=aborted, is_aborted=True)


def abort_outcome(outcome: Outcome) -> Outcome:
    """Returns the outcome of a row of an aborted submission; a failure keeps its own reason.

    Mode and activity are left out, because the changes of earlier rows were rolled back.
    """
    outcome = outcome._replace(mode=None, is_active=None)
    if outcome.code in FAILURE_CODES:
        return outcome
    return outcome._replace(code=Code.REFUSED, reason=Reason.ABORTED, details=None)


class _MemoEntry(NamedTuple):
    """The memoized decision of new enrollments that differ in username, line and precedence only.

    `enrollment`, `kind` and `after` are None where nothing is written.
    """

    enrollment: Enrollment | None
    kind: ChangeKind | None
    after: EnrollmentState | None
    #: The fields of `Outcome` from `code` on.
    outcome_fields: tuple[Any, ...]


class _NewEnrollmentMemo:
    """Decides equal requests for new enrollments once, and reuses the decision.

    Two requests are equal where they differ in username, line and precedence only; in a large file
    nearly all requests are. In `tests/unit/domain/test_properties.py`,
    `test_new_enrollments_are_decided_alike_with_and_without_the_memo` compares this fast path with
    `_decide_one`.
    """

    def __init__(self, context: BatchContext, result: BatchDecision) -> None:
        self._context = context
        self._result = result
        self._learners = context.learners
        #: Requests for these are left to `_decide_one`.
        self._special: Collection[EnrollmentKey] = context.enrollments
        if context.course_staff:
            self._special = {*context.enrollments, *context.course_staff}
        #: None: requests of this kind are left to `_decide_one`.
        self._memo: dict[tuple[object, ...], _MemoEntry | None] = {}

    def decide_fast(self, position: int, request: Request) -> bool:
        """Decides a request for a new enrollment in a course without a seat limit.

        Returns False, and does nothing, for every request that may depend on more than the memo
        key: an existing enrollment, an invited or staff learner, a course with a seat limit.
        """
        line, username, course_id, effective_at, precedence, *change = request
        key = (course_id, username)
        result = self._result
        if key in result.enrollments or key in self._special:
            return False
        memo_key = (course_id, effective_at, *change)
        entry = self._memo.get(memo_key)
        if entry is None:
            if memo_key in self._memo:
                return False
            entry = self._memo[memo_key] = self._decide_once(request)
            if entry is None:
                return False
        learner = self._learners.get(username)
        if learner is None:
            if not self._context.accepts_unknown_learners:
                return False
        elif not _learner_context(learner, request, self._context, result).is_ordinary:
            return False
        enrollment, kind, after, outcome_fields = entry
        if enrollment is not None:
            result.enrollments[key] = enrollment.with_precedence(precedence)
            if kind is not None:
                cells = (position, username, course_id, kind, None, after)
                result.changes.append(_new(Change, cells))
                result.seats[course_id] += enrollment.is_active
        result.outcomes.append(_new(Outcome, (line, username, course_id, *outcome_fields)))
        return True

    def _decide_once(self, request: Request) -> _MemoEntry | None:
        """Returns the decision to reuse; None where the course is unknown or has a seat limit."""
        context = self._context
        course = context.courses.get(request.course_id)
        if course is None or course.capacity is not None:
            return None
        case = DecisionInput(
            request, course, 0, None, NO_LEARNER, context.site_default, context.now
        )
        decision = decide(case)
        enrollment = decision.enrollment
        return _MemoEntry(
            enrollment,
            CHANGE_KIND_BY_CODE.get(decision.code),
            None if enrollment is None else state_of(enrollment),
            _outcome(request, decision, None)[3:],
        )


def _decide_one(
    position: int, request: Request, context: BatchContext, result: BatchDecision
) -> None:
    """Decides one request and adds its outcome and changes to the result."""
    course_id, username = request.course_id, request.username
    course = context.courses.get(course_id)
    key = (course_id, username)
    current = result.enrollments.get(key) or context.enrollments.get(key)
    learner = context.learners.get(username)
    if learner is None and not context.accepts_unknown_learners:
        decision = Decision(Code.REFUSED, refusal=Refusal(Reason.LEARNER_NOT_FOUND))
    elif course is None:
        decision = Decision(Code.REFUSED, refusal=Refusal(Reason.COURSE_NOT_FOUND))
    else:
        learner_context = _learner_context(learner, request, context, result)
        seats_taken = course.seats_taken + result.seats[course_id]
        case = (
            request,
            course,
            seats_taken,
            current,
            learner_context,
            context.site_default,
            context.now,
            not request.rights.is_privileged and _is_withdrawn_by_other(key, context, result),
        )
        decision = decide(_new(DecisionInput, case))
        if decision.enrollment is not None:
            _add_change(position, request, current, decision, result)
        if learner_context.invitation is not None and decision.code in _USES_INVITATION:
            _use_invitation(request, learner_context.invitation, result)
    result.outcomes.append(_outcome(request, decision, current))


def _is_withdrawn_by_other(
    key: EnrollmentKey, context: BatchContext, result: BatchDecision
) -> bool:
    """Returns whether the latest change of an enrollment, so far, is not by its learner.

    The memo records nothing of what it creates; learners are not among its withdrawals.
    """
    is_by_other = result.changed_by_other.get(key)
    if is_by_other is not None:
        return is_by_other
    return key not in context.enrollments or key in context.withdrawn_by_others


def _learner_context(
    learner: Learner | None, request: Request, context: BatchContext, result: BatchDecision
) -> LearnerContext:
    """Returns what is known of a learner; their invitation is used where this batch used it."""
    staff = context.course_staff
    is_course_staff = bool(staff) and (request.course_id, request.username) in staff
    if learner is None:
        return LearnerContext(is_course_staff=True) if is_course_staff else NO_LEARNER
    if learner.email is None:
        return LearnerContext(learner, None, is_course_staff)
    key = (request.course_id, learner.email)
    invitation = context.invitations.get(key)
    if invitation is not None and key in result.invitations_used:
        invitation = invitation._replace(used_by=result.invitations_used[key])
    return LearnerContext(learner, invitation, is_course_staff)


def _use_invitation(request: Request, invitation: Invitation, result: BatchDecision) -> None:
    """Records that the learner used an invitation that is unused and has not expired."""
    if invitation.used_by is not None:
        return
    if invitation.expires_at is None or invitation.expires_at >= request.effective_at:
        key = (invitation.course_id, invitation.email)
        result.invitations_used[key] = request.username


def _add_change(
    position: int,
    request: Request,
    current: Enrollment | None,
    decision: Decision,
    result: BatchDecision,
) -> None:
    """Adds the enrollment to write and, where its state changed, the change and its seats."""
    after = decision.enrollment
    if after is None:
        return
    result.enrollments[request.course_id, request.username] = after
    kind = CHANGE_KIND_BY_CODE.get(decision.code)
    if kind is None:
        return
    before = None if current is None else state_of(current)
    cells = (position, request.username, request.course_id, kind, before, state_of(after))
    result.changes.append(_new(Change, cells))
    result.changed_by_other[request.course_id, request.username] = request.rights.is_privileged
    was_active = current is not None and current.is_active
    result.seats[request.course_id] += after.is_active - was_active


def _outcome(request: Request, decision: Decision, current: Enrollment | None) -> Outcome:
    """Returns the outcome, with mode and activity of the enrollment after the request."""
    code, enrollment, refusal = decision
    final = enrollment or current
    reason = _NO_REASON if refusal is None else refusal
    state = _NO_STATE if final is None else final[:2]
    return _new(Outcome, (request.line, request.username, request.course_id, code, *reason, *state))
