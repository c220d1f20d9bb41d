"""Builders of domain values with defaults; a test states only the fields that it is about."""

from datetime import UTC, datetime, timedelta

from enrollment.domain.batch_decision import BatchContext, BatchDecision, decide_batch
from enrollment.domain.codes import CallerKind
from enrollment.domain.events import EnrollmentState, state_of
from enrollment.domain.model import (
    RIGHTS,
    Attribute,
    Course,
    Enrollment,
    Learner,
    Mode,
    Outcome,
    Request,
    precedence_of,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
ALGEBRA = "course-v1:uni+algebra+2026"
PROVIDER = (Attribute("credit", "provider_id", "hogwarts"),)


def minute(number):
    return NOON + timedelta(minutes=number)


def some_modes(*slugs, **expiring):
    """Returns modes by slug; keyword arguments are modes with a deadline."""
    return tuple(
        [Mode(slug=slug) for slug in slugs]
        + [Mode(slug=slug, expires_at=moment) for slug, moment in expiring.items()]
    )


AUDIT_AND_VERIFIED = some_modes("audit", "verified")


def a_course(*, modes=AUDIT_AND_VERIFIED, **facts):
    return Course(course_id=ALGEBRA, modes=modes, **facts)


def a_request(
    username="ada",
    *,
    by=CallerKind.ADMIN,
    at=NOON,
    stated=True,
    intake=1,
    line=1,
    course_id=ALGEBRA,
    **change,
):
    precedence = precedence_of(at, stated=stated, intake=intake, line=line)
    return Request(line, username, course_id, at, precedence, RIGHTS[by], **change)


def an_enrollment(mode="audit", *, is_active=True, since=-60, **fields):
    """Returns an enrollment whose mode was stated in a request."""
    precedence = precedence_of(minute(since), stated=True, intake=0, line=1)
    precedences = {"activity_precedence": precedence, "mode_precedence": precedence} | fields
    return Enrollment(mode=mode, is_active=is_active, created=minute(since), **precedences)


def a_world(course=None, *, ada=None, invitation=None, **facts):
    """Returns the context of one course; `ada` is the enrollment of the learner ada, if any."""
    course = course or a_course()
    seats = course.seats_taken + (1 if ada is not None and ada.is_active else 0)
    values = {
        "now": NOON,
        "courses": {course.course_id: with_seats(course, seats)},
        "enrollments": {} if ada is None else {(course.course_id, "ada"): ada},
        "learners": {"ada": Learner("ada", "ada@uni.test"), "bob": Learner("bob", "bob@uni.test")},
        "invitations": {}
        if invitation is None
        else {(invitation.course_id, invitation.email): invitation},
    }
    return BatchContext(**(values | facts))


def with_seats(course, seats_taken):
    facts = {name: getattr(course, name) for name in Course.__slots__}
    return Course(**(facts | {"seats_taken": seats_taken}))


def after(world, decision: BatchDecision):
    """Returns the context after a batch decision was written."""
    return BatchContext(
        now=world.now,
        courses={
            name: with_seats(course, course.seats_taken + decision.seats[name])
            for name, course in world.courses.items()
        },
        enrollments={**world.enrollments, **decision.enrollments},
        learners=world.learners,
        invitations={
            key: invitation._replace(used_by=decision.invitations_used[key])
            if key in decision.invitations_used
            else invitation
            for key, invitation in world.invitations.items()
        },
        course_staff=world.course_staff,
        site_default=world.site_default,
        accepts_unknown_learners=world.accepts_unknown_learners,
    )


def states(world) -> dict[tuple[str, str], EnrollmentState]:
    return {key: state_of(enrollment) for key, enrollment in world.enrollments.items()}


def code_and_reason(outcome: Outcome):
    """Returns code and reason of an outcome."""
    return (outcome.code, outcome.reason)


def answer(request, world):
    """Returns the outcome of a request, and the state of the enrollment after it."""
    decision = decide_batch([request], world)
    (outcome,) = decision.outcomes
    state = after(world, decision).enrollments.get((request.course_id, request.username))
    return outcome, None if state is None else state_of(state)


def enrolled(text):
    """Parses an enrollment: `verified-` is inactive in verified; empty is none."""
    return an_enrollment(text[:-1], is_active=text[-1] == "+") if text else None


def format_state(state):
    return "" if state is None else state.mode + ("+" if state.is_active else "-")


def parse_change(text):
    """Parses a change: `verified-` deactivates and states verified; `+` enrolls without a mode."""
    return {"mode": text[:-1] or None, "is_active": text[-1] == "+"}


def result(outcome):
    return outcome.reason or outcome.code


def reason_of(refusal):
    return None if refusal is None else refusal.reason
