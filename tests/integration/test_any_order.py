"""Any submissions, delivered in any order and more than once: every promise holds."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from enrollment.domain.codes import FAILURE_CODES
from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.tables import Base
from tests.support.in_process_service import ADMIN, World, hours_ago, request, row

COURSES = ["course-v1:Uni+Algebra+2026", "course-v1:Uni+Biology+2026"]
LEARNERS = ["ada", "bob", "eve"]
MODES = ["audit", "verified", "honor"]


class Wish(NamedTuple):
    """What is wished, and how many hours ago if that is stated."""

    user: str
    course_id: str
    is_active: bool
    mode: str | None
    stated: int | None


class Submitted(NamedTuple):
    """Wishes that one caller handed in at once."""

    wishes: list[Wish]
    is_file: bool


#: Few moments, so that many are equal.
MOMENTS = st.none() | st.integers(1, 3)


def wishes(modes: st.SearchStrategy[str | None]) -> st.SearchStrategy[Wish]:
    return st.builds(
        Wish, st.sampled_from(LEARNERS), st.sampled_from(COURSES), st.booleans(), modes, MOMENTS
    )


def submitted(wish: st.SearchStrategy[Wish]) -> st.SearchStrategy[list[Submitted]]:
    one = st.builds(Submitted, st.lists(wish, min_size=1, max_size=6), st.booleans())
    return st.lists(one, min_size=1, max_size=6)


ANY_WISH = wishes(st.none() | st.sampled_from([*MODES, "masters"]))
#: Nothing of these is ever refused: nobody leaves in a mode, and every mode can be had.
GRANTED = wishes(st.none()) | wishes(st.sampled_from(MODES)).map(
    lambda wish: wish._replace(is_active=True)
)


@contextmanager
def a_world() -> Iterator[World]:
    """A database in memory, with batches so small that files have several."""
    sessions = sessions_for("sqlite://")
    Base.metadata.create_all(sessions.engine)
    yield World(sessions, batch_rows=2)
    sessions.dispose()


class Moments:
    """The same moment for everybody who states the same number of hours."""

    def __init__(self) -> None:
        self.at = {hours: hours_ago(hours) for hours in (1, 2, 3)}

    def of(self, wish: Wish):
        return None if wish.stated is None else self.at[wish.stated]


def hand_in(world, submissions, moments):
    """The submissions' ids, in the order of taking in."""
    ids = []
    for submission in submissions:
        if submission.is_file:
            ids.append(world.send([line(wish, moments) for wish in submission.wishes]))
        else:
            asked = [single(wish, moments) for wish in submission.wishes]
            ids += world.ask(*asked, caller=ADMIN)
    return ids


def line(wish, moments):
    at = moments.of(wish)
    return row(wish.user, wish.course_id, is_active=wish.is_active, mode=wish.mode, requested_at=at)


def single(wish, moments):
    at = moments.of(wish)
    return request(
        wish.user, wish.course_id, is_active=wish.is_active, mode=wish.mode, requested_at=at
    )


def deliver_anyhow(world, rng, *, check=False):
    """Everything in any order, with messages that come twice, late, or about nothing."""
    seen = [0]
    while waiting := world.waiting():
        seen += waiting
        messages = [*waiting, *rng.choices(seen, k=2)]
        rng.shuffle(messages)
        world.deliver(*messages)
        if check:
            world.check()
    return seen


@settings(max_examples=25)
@given(
    submissions=submitted(ANY_WISH),
    capacity=st.none() | st.integers(0, 2),
    seed=st.integers(0, 2**16),
)
def test_every_promise_holds_after_every_delivery(submissions, capacity, seed):
    rng = random.Random(seed)
    with a_world() as world:
        for course_id in COURSES:
            world.course(course_id, modes=MODES, capacity=capacity)
        ids = hand_in(world, submissions, Moments())

        seen = deliver_anyhow(world, rng, check=True)

        wished = sum(len(submission.wishes) for submission in submissions)
        assert sum(len(world.outcomes(submission_id)) for submission_id in ids) == wished
        done = world.dump()
        world.deliver(*seen)
        assert world.dump() == done


@settings(max_examples=25)
@given(submissions=submitted(GRANTED), seeds=st.tuples(st.integers(0, 99), st.integers(100, 199)))
def test_where_nothing_is_refused_the_order_of_delivery_does_not_matter(submissions, seeds):
    moments = Moments()
    states = []
    for seed in seeds:
        with a_world() as world:
            for course_id in COURSES:
                world.course(course_id, modes=MODES)
            ids = hand_in(world, submissions, moments)
            deliver_anyhow(world, random.Random(seed))
            codes = {code for id_ in ids for code in world.codes(id_)}
            assert not codes & FAILURE_CODES
            states.append(world.enrollments())

    assert states[0] == states[1]


@settings(max_examples=15)
@given(submissions=submitted(GRANTED), seed=st.integers(0, 99))
def test_stated_times_make_sending_again_change_nothing(submissions, seed):
    moments = Moments()
    stated = [
        submission._replace(
            wishes=[wish._replace(stated=wish.stated or 1) for wish in submission.wishes]
        )
        for submission in submissions
    ]
    with a_world() as world:
        for course_id in COURSES:
            world.course(course_id, modes=MODES)
        hand_in(world, stated, moments)
        deliver_anyhow(world, random.Random(seed))
        before = world.enrollments(), world.events()

        hand_in(world, stated, moments)
        deliver_anyhow(world, random.Random(seed + 1))

        assert (world.enrollments(), world.events()) == before
