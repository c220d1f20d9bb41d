"""Learners who are on the staff of a course pass its window and its invitations."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert

from enrollment.domain.codes import Code, Reason
from enrollment.domain.model import Invitation
from enrollment.storage import invitations
from enrollment.storage.people import course_roles
from enrollment.storage.tables import CourseRoleRow
from tests.support.in_process_service import ADMIN, COURSE, OTHER, csv_of, hours_ago, request, row
from tests.support.statements import recorded_statements

CLOSED = {"enrollment_end": hours_ago(1)}
FUTURE = {"enrollment_start": hours_ago(-1)}
INVITE_ONLY = {"invite_only": True}


def give_role(world, *names, course_id=COURSE, role="staff"):
    rows = [
        {"username": name, "course_id": course_id, "role": role, "created": datetime.now(UTC)}
        for name in names
    ]
    with world.sessions.begin() as session:
        session.execute(insert(CourseRoleRow), rows)


@pytest.mark.parametrize("course", [CLOSED, FUTURE, INVITE_ONLY, CLOSED | INVITE_ONLY])
@pytest.mark.parametrize("role", ["staff", "instructor"])
@pytest.mark.parametrize("is_known", [True, False])
def test_staff_of_the_course_enroll_as_learners(world, course, role, is_known):
    world.course(**course)
    if is_known:
        world.learner("ada", "ada@example.org")
    give_role(world, "ada", role=role)
    ada, bob = world.ask(request("ada"), request("bob"))

    world.work()

    assert world.answer(ada) == (Code.ENROLLED, None)
    assert world.answer(bob)[0] is Code.REFUSED
    world.check()


@pytest.mark.parametrize(
    ("role", "course_id"), [("limited_staff", COURSE), ("support", COURSE), ("staff", OTHER)]
)
def test_other_roles_and_other_courses_do_not_help(world, role, course_id):
    world.course(**CLOSED)
    world.course(OTHER)
    give_role(world, "ada", role=role, course_id=course_id)
    (single,) = world.ask(request("ada"))

    world.work()

    assert world.answer(single) == (Code.REFUSED, Reason.ENROLLMENT_CLOSED)


def test_staff_of_the_course_do_not_pass_the_seats(world):
    world.course(capacity=0, **INVITE_ONLY)
    give_role(world, "ada")
    (single,) = world.ask(request("ada"))

    world.work()

    assert world.answer(single) == (Code.REFUSED, Reason.COURSE_FULL)


@pytest.mark.parametrize("dry_run", [True, False])
def test_files_and_dry_runs_know_the_staff(world, dry_run):
    world.batch_rows = 2
    world.course(**CLOSED)
    give_role(world, "ada", "cyd")
    file = world.send(csv_of([row(name) for name in ("ada", "bob", "cyd")]), dry_run=dry_run)

    world.work()

    assert world.codes(file) == [Code.ENROLLED, Code.REFUSED, Code.ENROLLED]


def test_times_inside_and_outside_the_window_are_told_apart(world):
    world.course(enrollment_end=hours_ago(2))
    give_role(world, "cyd")
    before, after = hours_ago(3), hours_ago(1)
    rows = [
        row("ada", requested_at=before),
        row("bob", requested_at=after),
        row("cyd", requested_at=after),
    ]
    file = world.send(csv_of(rows))

    world.work()

    assert world.codes(file) == [Code.ENROLLED, Code.REFUSED, Code.ENROLLED]


def looked_up(world, *wishes, caller=ADMIN):
    """Whether the batch of these requests asked for roles."""
    world.ask(*wishes, caller=caller)
    with recorded_statements(world.sessions.engine) as seen:
        world.deliver(*world.waiting())
    return sum("course_role" in str(statement) for statement in seen)


def test_roles_are_looked_up_only_where_window_or_invitation_would_refuse(world):
    world.course(enrollment_start=hours_ago(5), enrollment_end=hours_ago(-5))
    world.course(OTHER, **CLOSED)
    world.learner("guest", "guest@example.org")
    world.learner("boss", is_staff=True)
    with world.sessions.begin() as session:
        invitations.save(session, Invitation(OTHER, "guest@example.org"), now=datetime.now(UTC))

    assert looked_up(world, *(request(f"ada{n}") for n in range(20))) == 0
    assert looked_up(world, request("guest", OTHER), request("boss", OTHER)) == 0
    assert looked_up(world, request("ada", OTHER, force=True)) == 0
    assert looked_up(world, request("cyd", OTHER, is_active=False)) == 0
    assert looked_up(world, *(request(f"bob{n}", OTHER) for n in range(20))) == 1


def test_pairs_of_staff_are_found_by_one_statement(world):
    give_role(world, "ada", "bob")
    give_role(world, "ada", role="instructor")
    give_role(world, "cyd", role="support")
    pairs = [(name, COURSE) for name in ("ada", "bob", "cyd", "dan")] + [("ada", OTHER)]
    with world.sessions.read() as session, recorded_statements(world.sessions.engine) as seen:
        assert course_roles.staff_pairs(session, pairs) == {("ada", COURSE), ("bob", COURSE)}
        assert course_roles.staff_pairs(session, []) == set()
    assert len(seen) == 1
