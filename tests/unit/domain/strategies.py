"""Worlds, and what is asked of them: few names and few moments, so that wishes collide."""

from itertools import product
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st

from enrollment.domain.batch_decision import BatchContext, decide_batch
from enrollment.domain.codes import CallerKind
from enrollment.domain.model import (
    RIGHTS,
    Attribute,
    Course,
    Enrollment,
    Invitation,
    Learner,
    Mode,
    Request,
    precedence_of,
)
from tests.unit.domain.builders import ALGEBRA, NOON, PROVIDER, after, minute, with_seats

PHYSICS, UNKNOWN = "course-v1:uni+physics+2026", "course-v1:uni+alchemy+1926"
SLUGS = ("audit", "honor", "verified", "credit", "professional")
#: Rows of a submission state times between these two; every deadline lies between them too.
FIRST, LAST = -3, 3
LAST_INTAKE = 9
CALLERS = tuple(CallerKind) + (CallerKind.SERVER, CallerKind.STAFF, CallerKind.ADMIN) * 2
TRUSTED = (CallerKind.STAFF, CallerKind.ADMIN)

moments = st.integers(FIRST, LAST).map(minute)
maybe = st.booleans()
maybe_moments = st.none() | moments
ORDER = (Attribute("order", "number", "1"),)
NAMES = tuple(product(("ada",) * 5 + ("bob", "cyd"), [ALGEBRA] * 12 + [PHYSICS] * 3 + [UNKNOWN]))
GRANTED = tuple(product(("ada", "ada", "ada", "bob"), [ALGEBRA] * 5 + [PHYSICS]))
WISHED_MODES = (None, None, "audit", "verified", "honor", "credit")
WISHES = tuple(
    {"is_active": is_active, "mode": mode, "attributes": given, "cohort": cohort, "force": force}
    for is_active, mode, given, cohort, force in product(
        (True, False),
        WISHED_MODES,
        (None, None, PROVIDER, ORDER, ()),
        (None,) * 7 + ("red", "red", "blue"),
        (False, False, False, True),
    )
)


def repeatable(examples):
    """The same examples on every run: what fails once fails for everybody."""
    return settings(derandomize=True, max_examples=examples, database=None)


def is_stated(row):
    """Intakes are counted from one, and stated times rank far above them all."""
    return row.precedence.rank > LAST_INTAKE


class History(NamedTuple):
    """A world, what was submitted to it, and the order in which workers reach the rows."""

    world: BatchContext
    submissions: tuple[tuple[Request, ...], ...]
    #: The number of the submission that each next row comes from.
    order: tuple[int, ...]


def merged(submissions, order):
    """The rows in the order in which workers reach them."""
    waiting = [iter(rows) for rows in submissions]
    return [next(waiting[number]) for number in order]


def steps(world, requests):
    """Each request with the world that it finds and what it comes to."""
    for request in requests:
        judgement = decide_batch([request], world)
        yield world, request, judgement
        world = after(world, judgement)


MENUS = (
    *(("honor", "audit", "verified", "credit"),) * 6,
    *(("audit", "verified"),) * 3,
    ("verified", "honor"),
    ("audit", "credit"),
    ("professional",),
    ("verified",),
    (),
)


@st.composite
def modes(draw, deadlines):
    return tuple(
        Mode(slug=slug, expires_at=draw(deadlines)) for slug in draw(st.sampled_from(MENUS))
    )


@st.composite
def courses(draw):
    """Courses that may be closed, full, by invitation, or without a mode that can be had."""
    return Course(
        course_id=ALGEBRA,
        enrollment_start=draw(st.none() | st.none() | st.none() | moments),
        enrollment_end=draw(st.none() | st.none() | st.none() | moments),
        invite_only=draw(st.sampled_from([False, False, False, True])),
        capacity=draw(st.none() | st.none() | st.integers(0, 2)),
        modes=draw(modes(st.none() | st.none() | st.none() | moments)),
        cohorts=("red",),
    )


@st.composite
def open_courses(draw):
    """Courses in which nothing depends on time or on others."""
    return Course(course_id=ALGEBRA, modes=draw(modes(st.none())), cohorts=("red", "blue"))


@st.composite
def invitations(draw):
    """Hardly anybody is invited, and not all for good."""
    email = draw(st.sampled_from(("ada@uni.test", "bob@uni.test", None)))
    if email is None:
        return {}
    used_by = draw(st.sampled_from((None, None, "ada", "cyd")))
    facts = {"expires_at": draw(maybe_moments), "used_by": used_by}
    return {(ALGEBRA, email): Invitation(ALGEBRA, email, **facts)}


PLAIN = Course(
    course_id=PHYSICS,
    modes=(Mode(slug="audit"), Mode(slug="verified")),
    capacity=1,
    cohorts=("red",),
)


@st.composite
def worlds(draw, kind=courses):
    """A course in which much may be in the way and a plain one; of three learners two are known."""
    staff, accepts = draw(st.sampled_from([(False, True)] * 6 + [(True, True), (False, False)]))
    return BatchContext(
        now=NOON,
        courses={ALGEBRA: draw(kind()), PHYSICS: PLAIN},
        learners={
            "ada": Learner("ada", "ada@uni.test", is_staff=staff),
            "bob": Learner("bob", "bob@uni.test"),
        },
        invitations=draw(invitations()),
        site_default=draw(st.sampled_from(("audit", "honor"))),
        accepts_unknown_learners=accepts,
    )


clocks = st.builds(
    precedence_of, moments, stated=st.booleans(), intake=st.integers(1, 3), line=st.integers(1, 3)
)
maybe_clocks = st.none() | clocks

#: Whatever may stand in the table, likely or not.
enrollments = st.builds(
    Enrollment,
    mode=st.sampled_from(SLUGS),
    is_active=st.booleans(),
    created=st.just(minute(-60)),
    activity_precedence=clocks,
    mode_precedence=maybe_clocks,
    attributes=st.sampled_from([(), PROVIDER, ORDER]),
    attributes_precedence=maybe_clocks,
    cohort=st.sampled_from([None, "red", "blue"]),
    cohort_precedence=maybe_clocks,
)


@st.composite
def standing_worlds(draw):
    """Worlds in which anything may stand already."""
    world = draw(worlds())
    keys = st.tuples(st.sampled_from((ALGEBRA, PHYSICS)), st.sampled_from(("ada", "bob", "cyd")))
    there = draw(st.dictionaries(keys, enrollments, max_size=4))
    for (course_id, _), enrollment in there.items():
        course = world.courses[course_id]
        world.courses[course_id] = with_seats(course, course.seats_taken + enrollment.is_active)
    world.enrollments.update(there)
    return world


wishes = st.sampled_from(WISHES)
#: Wishes that name neither attributes nor cohort, and wishes that all name both.
bare_wishes = st.sampled_from([w for w in WISHES if w["attributes"] is w["cohort"] is None])
full_wishes = st.sampled_from([w for w in WISHES if None not in {w["attributes"], w["cohort"]}])


@st.composite
def rows(draw, *, intake, by, received, line, wish, stated, names):
    """One row; who may not state a time asks when the submission is received."""
    moment = received
    if stated := RIGHTS[by].state_time and draw(stated):
        moment = draw(st.integers(FIRST, received))
    clock = precedence_of(minute(moment), stated=stated, intake=intake, line=line)
    username, course_id = draw(st.sampled_from(names))
    row = Request(line, username, course_id, minute(moment), clock, RIGHTS[by])
    return row._replace(**draw(wish))


@st.composite
def submissions(
    draw, *, wish=wishes, callers=CALLERS, stated=maybe, names=NAMES, least=1, most=3, longest=4
):
    """What several callers handed in, one after the other."""
    number = draw(st.integers(least, most))
    received = sorted(draw(st.lists(st.integers(FIRST, LAST), min_size=number, max_size=number)))
    found = []
    for intake, moment in enumerate(received, start=1):
        by, length = draw(st.sampled_from(callers)), draw(st.integers(1, longest))
        said = {"intake": intake, "by": by, "received": moment, "wish": wish}
        found.append(
            tuple(
                draw(rows(line=line, stated=stated, names=names, **said))
                for line in range(1, length + 1)
            )
        )
    return tuple(found)


@st.composite
def histories(draw):
    """Rows of several submissions, reached in any order that keeps each one's own."""
    found = draw(submissions())
    numbers = [number for number, rows_of in enumerate(found) for _ in rows_of]
    return History(draw(worlds()), found, tuple(draw(st.permutations(numbers))))


@st.composite
def harmonies(draw):
    """Few rows of callers who may do everything, in courses that refuse little."""
    wish = draw(st.sampled_from((bare_wishes, full_wishes)))
    found = draw(submissions(wish=wish, callers=TRUSTED, names=GRANTED, least=2, longest=2))
    numbers = [number for number, rows_of in enumerate(found) for _ in rows_of]
    return History(draw(worlds(open_courses)), found, tuple(numbers))
