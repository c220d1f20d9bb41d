"""A batch takes a fixed number of statements, whatever its size."""

from datetime import UTC, datetime

from enrollment.domain.codes import Code
from enrollment.domain.model import Invitation
from enrollment.storage import invitations
from tests.support.in_process_service import COURSE, OTHER, csv_of, request
from tests.support.statements import recorded_statements

CLOSED = "course-v1:Uni+Chemistry+2026"
#: What one row of each sort comes to.
SORTS = {
    "newcomer": Code.ENROLLED,
    "known": Code.ENROLLED,
    "guest": Code.ENROLLED,
    "payer": Code.MODE_CHANGED,
    "leaver": Code.DEACTIVATED,
    "stayer": Code.UNCHANGED,
    "stranger": Code.REFUSED,
    "unread": Code.INVALID,
    "late": Code.REFUSED,
    "elsewhere": Code.ENROLLED,
}


def rows(prefix, number):
    """A file with as many rows of every sort."""
    for n in range(number):
        yield {"user": f"{prefix}newcomer{n}", "course_id": COURSE}
        yield {"user": f"{prefix}known{n}", "course_id": COURSE}
        yield {"email": f"{prefix}guest{n}@example.org", "course_id": CLOSED}
        yield {"user": f"{prefix}payer{n}", "course_id": COURSE, "mode": "verified"}
        yield {"user": f"{prefix}leaver{n}", "course_id": COURSE, "is_active": False}
        yield {"user": f"{prefix}stayer{n}", "course_id": COURSE}
        yield {"email": f"{prefix}stranger{n}@example.org", "course_id": COURSE}
        yield {"user": f"{prefix}unread{n}", "course_id": "nonsense"}
        yield {"user": f"{prefix}late{n}", "course_id": CLOSED}
        yield {"user": f"{prefix}elsewhere{n}", "course_id": OTHER}


def prepare(world, prefix, number):
    with world.sessions.begin() as session:
        for n in range(number):
            email = f"{prefix}guest{n}@example.org"
            invitations.save(session, Invitation(CLOSED, email), now=datetime.now(UTC))
    for n in range(number):
        world.learner(f"{prefix}guest{n}", f"{prefix}guest{n}@example.org")
        world.learner(f"{prefix}known{n}")
    standing = [
        f"{prefix}{sort}{n}" for n in range(number) for sort in ("payer", "leaver", "stayer")
    ]
    world.ask(*(request(user, mode="audit") for user in standing))
    world.work()


def told(world, prefix, number):
    """The statements of one batch, and what came of it."""
    prepare(world, prefix, number)
    file = world.send(csv_of(rows(prefix, number)))
    (batch,) = world.batch_ids(file)
    with recorded_statements(world.sessions.engine) as seen:
        world.deliver(batch)
    assert world.codes(file) == [*SORTS.values()] * number
    return seen


def test_a_batch_of_a_thousand_takes_no_more_statements_than_one_of_ten(world):
    world.course(COURSE, modes=["audit", "verified"], capacity=10_000)
    world.course(OTHER)
    world.course(CLOSED, invite_only=True)

    few, many = told(world, "a", 1), told(world, "b", 100)

    assert many == few
    assert len(few) <= 30
    world.check()


def test_the_same_holds_for_singles(world):
    world.course()

    def of(number, prefix):
        world.ask(*(request(f"{prefix}{n}") for n in range(number)))
        with recorded_statements(world.sessions.engine) as seen:
            world.deliver(*world.waiting())
        return seen

    few, many = of(10, "a"), of(1_000, "b")

    assert many == few
    assert len(many) <= 20


def test_taking_in_singles_takes_the_same_statements_for_one_and_for_a_thousand(world):
    with recorded_statements(world.sessions.engine) as few:
        world.ask(request("ada"))
    with recorded_statements(world.sessions.engine) as many:
        world.ask(*(request(f"learner{n}") for n in range(1_000)))

    assert many == few


def test_a_ring_that_finds_nothing_costs_next_to_nothing(world):
    world.course()
    world.ask(request("ada"))
    (number,) = world.waiting()
    world.work()

    with recorded_statements(world.sessions.engine) as seen:
        world.deliver(number)

    assert len(seen) <= 4
