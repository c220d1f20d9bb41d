"""Values to begin with; a test names only what it is about."""

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
    """Modes by slug; those given by name end at a moment."""
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
    asked=NOON,
    stated=True,
    intake=1,
    line=1,
    course_id=ALGEBRA,
    **wish,
):
    clock = precedence_of(asked, stated=stated, intake=intake, line=line)
    return Request(line, username, course_id, asked, clock, RIGHTS[by], **wish)


def an_enrollment(mode="audit", *, is_active=True, since=-60, **fields):
    """An enrollment that somebody asked for by naming its mode."""
    clock = precedence_of(minute(since), stated=True, intake=0, line=1)
    clocks = {"activity_precedence": clock, "mode_precedence": clock} | fields
    return Enrollment(mode=mode, is_active=is_active, created=minute(since), **clocks)


def a_world(course=None, *, ada=None, invitation=None, **facts):
    """A world of one course, in which ada may be enrolled already."""
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


def after(world, judgement: BatchDecision):
    """The world once a judgement was written down."""
    return BatchContext(
        now=world.now,
        courses={
            name: with_seats(course, course.seats_taken + judgement.seats[name])
            for name, course in world.courses.items()
        },
        enrollments={**world.enrollments, **judgement.enrollments},
        learners=world.learners,
        invitations={
            key: invitation._replace(used_by=judgement.invitations_used[key])
            if key in judgement.invitations_used
            else invitation
            for key, invitation in world.invitations.items()
        },
        site_default=world.site_default,
        accepts_unknown_learners=world.accepts_unknown_learners,
    )


def standings(world) -> dict[tuple[str, str], EnrollmentState]:
    return {key: state_of(enrollment) for key, enrollment in world.enrollments.items()}


def told(outcome: Outcome):
    """The part of an outcome that says what became of the request."""
    return (outcome.code, outcome.reason)


def answer(request, world):
    """The one outcome of a request, and what the learner's enrollment then looks like."""
    judgement = decide_batch([request], world)
    (outcome,) = judgement.outcomes
    stands = after(world, judgement).enrollments.get((request.course_id, request.username))
    return outcome, None if stands is None else state_of(stands)


def enrolled(text):
    """``verified-``: an inactive enrollment in verified; empty: none."""
    return an_enrollment(text[:-1], is_active=text[-1] == "+") if text else None


def shown(stands):
    return "" if stands is None else stands.mode + ("+" if stands.is_active else "-")


def wished(text):
    """``verified-``: deactivate, naming verified; ``+``: enroll, naming nothing."""
    return {"mode": text[:-1] or None, "is_active": text[-1] == "+"}


def result(outcome):
    return outcome.reason or outcome.code


def reason_of(refusal):
    return None if refusal is None else refusal.reason
