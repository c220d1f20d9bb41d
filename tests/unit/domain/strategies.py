"""Strategies for contexts and requests; few names and few times, so that changes collide."""

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
#: Range of stated times and of deadlines, in minutes.
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
REQUESTED_MODES = (None, None, "audit", "verified", "honor", "credit")
CHANGES = tuple(
    {"is_active": is_active, "mode": mode, "attributes": given, "cohort": cohort, "force": force}
    for is_active, mode, given, cohort, force in product(
        (True, False),
        REQUESTED_MODES,
        (None, None, PROVIDER, ORDER, ()),
        (None,) * 7 + ("red", "red", "blue"),
        (False, False, False, True),
    )
)


def repeatable(examples):
    """Returns settings that generate the same examples on every run."""
    return settings(derandomize=True, max_examples=examples, database=None)


def is_stated(row):
    """Returns whether a rank is that of a stated time; received times rank as low as the intake."""
    return row.precedence.rank > LAST_INTAKE


class History(NamedTuple):
    """A context, the submissions, and the order in which workers process their rows."""

    world: BatchContext
    submissions: tuple[tuple[Request, ...], ...]
    #: For each row in turn, the index of its submission.
    order: tuple[int, ...]


def merged(submissions, order):
    """Returns the rows in the order in which workers process them."""
    waiting = [iter(rows) for rows in submissions]
    return [next(waiting[number]) for number in order]


def steps(world, requests):
    """Yields each request with the context before it and the decision on it."""
    for request in requests:
        decision = decide_batch([request], world)
        yield world, request, decision
        world = after(world, decision)


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
    """Courses that may be closed, full, invite-only, or without an available mode."""
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
    """Courses in which no decision depends on time or on other learners."""
    return Course(course_id=ALGEBRA, modes=draw(modes(st.none())), cohorts=("red", "blue"))


@st.composite
def invitations(draw):
    """A few invitations, some of them used or expired."""
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


#: Staff of the restricted course: mostly nobody, one whom the service knows, one whom it does not.
COURSE_STAFF = st.sampled_from(
    [frozenset()] * 6 + [frozenset({(ALGEBRA, "ada")}), frozenset({(ALGEBRA, "cyd")})]
)


@st.composite
def worlds(draw, kind=courses):
    """Contexts of a restricted course and an unrestricted one; two of three learners are known."""
    staff, accepts = draw(st.sampled_from([(False, True)] * 6 + [(True, True), (False, False)]))
    return BatchContext(
        now=NOON,
        courses={ALGEBRA: draw(kind()), PHYSICS: PLAIN},
        learners={
            "ada": Learner("ada", "ada@uni.test", is_staff=staff),
            "bob": Learner("bob", "bob@uni.test"),
        },
        invitations=draw(invitations()),
        course_staff=draw(COURSE_STAFF),
        site_default=draw(st.sampled_from(("audit", "honor"))),
        accepts_unknown_learners=accepts,
    )


precedences = st.builds(
    precedence_of, moments, stated=st.booleans(), intake=st.integers(1, 3), line=st.integers(1, 3)
)
maybe_precedences = st.none() | precedences

#: Any enrollment that the table can hold, likely or not.
enrollments = st.builds(
    Enrollment,
    mode=st.sampled_from(SLUGS),
    is_active=st.booleans(),
    created=st.just(minute(-60)),
    activity_precedence=precedences,
    mode_precedence=maybe_precedences,
    attributes=st.sampled_from([(), PROVIDER, ORDER]),
    attributes_precedence=maybe_precedences,
    cohort=st.sampled_from([None, "red", "blue"]),
    cohort_precedence=maybe_precedences,
)


@st.composite
def arbitrary_worlds(draw):
    """Contexts with any enrollments."""
    world = draw(worlds())
    keys = st.tuples(st.sampled_from((ALGEBRA, PHYSICS)), st.sampled_from(("ada", "bob", "cyd")))
    there = draw(st.dictionaries(keys, enrollments, max_size=4))
    for (course_id, _), enrollment in there.items():
        course = world.courses[course_id]
        world.courses[course_id] = with_seats(course, course.seats_taken + enrollment.is_active)
    world.enrollments.update(there)
    return world


changes = st.sampled_from(CHANGES)
#: Changes without attributes and cohort, and changes with both.
bare_changes = st.sampled_from([w for w in CHANGES if w["attributes"] is w["cohort"] is None])
full_changes = st.sampled_from([w for w in CHANGES if None not in {w["attributes"], w["cohort"]}])


@st.composite
def rows(draw, *, intake, by, received, line, change, stated, names):
    """One row; callers without the right to state a time use the time of receipt."""
    moment = received
    if stated := RIGHTS[by].state_time and draw(stated):
        moment = draw(st.integers(FIRST, received))
    precedence = precedence_of(minute(moment), stated=stated, intake=intake, line=line)
    username, course_id = draw(st.sampled_from(names))
    row = Request(line, username, course_id, minute(moment), precedence, RIGHTS[by])
    return row._replace(**draw(change))


@st.composite
def submissions(
    draw, *, change=changes, callers=CALLERS, stated=maybe, names=NAMES, least=1, most=3, longest=4
):
    """Submissions of several callers, in the order of intake."""
    number = draw(st.integers(least, most))
    received = sorted(draw(st.lists(st.integers(FIRST, LAST), min_size=number, max_size=number)))
    found = []
    for intake, moment in enumerate(received, start=1):
        by, length = draw(st.sampled_from(callers)), draw(st.integers(1, longest))
        said = {"intake": intake, "by": by, "received": moment, "change": change}
        found.append(
            tuple(
                draw(rows(line=line, stated=stated, names=names, **said))
                for line in range(1, length + 1)
            )
        )
    return tuple(found)


@st.composite
def histories(draw):
    """Histories in any order of processing that keeps the order within each submission."""
    found = draw(submissions())
    numbers = [number for number, rows_of in enumerate(found) for _ in rows_of]
    return History(draw(worlds()), found, tuple(draw(st.permutations(numbers))))


@st.composite
def harmonies(draw):
    """Histories of a few rows of callers with all rights, in courses that refuse little."""
    change = draw(st.sampled_from((bare_changes, full_changes)))
    found = draw(submissions(change=change, callers=TRUSTED, names=GRANTED, least=2, longest=2))
    numbers = [number for number, rows_of in enumerate(found) for _ in rows_of]
    return History(draw(worlds(open_courses)), found, tuple(numbers))
