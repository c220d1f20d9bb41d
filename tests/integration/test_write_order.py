"""For one enrollment the latest wish wins, whatever lane or worker it went through, and what
depends on time is judged as of the moment it was asked.
"""

from datetime import UTC, datetime
from itertools import permutations

import pytest

from enrollment.domain.codes import Code, Reason
from enrollment.domain.events import EnrollmentState
from enrollment.domain.model import Invitation
from enrollment.storage import invitations
from tests.support.breakpoints import meeting, together
from tests.support.in_process_service import ADMIN, COURSE, hours_ago, request, row

ACTIVE = EnrollmentState("audit", is_active=True)
INACTIVE = EnrollmentState("audit", is_active=False)


# --- the deadline -------------------------------------------------------------------------


def test_who_asked_before_the_deadline_is_in_however_late_it_is_judged(world):
    world.course(enrollment_end=hours_ago(1))
    (single,) = world.ask(request("ada"), hours_ago=2)
    file = world.send([row("bob")], hours_ago=2)
    (late,) = world.ask(request("eve"))

    world.work()

    assert world.answer(single) == world.answer(file) == (Code.ENROLLED, None)
    assert world.answer(late) == (Code.REFUSED, Reason.ENROLLMENT_CLOSED)
    world.check()


def test_who_asked_too_early_is_not_in_however_late_it_is_judged(world):
    world.course(enrollment_start=hours_ago(1))
    (single,) = world.ask(request("ada"), hours_ago=2)

    world.work()

    assert world.answer(single) == (Code.REFUSED, Reason.ENROLLMENT_NOT_OPEN)


def test_an_invitation_is_judged_as_of_the_moment_asked(world):
    world.course(invite_only=True)
    world.learner("ada", "ada@example.org")
    world.learner("eve", "eve@example.org")
    with world.sessions.begin() as session:
        for email in ("ada@example.org", "eve@example.org"):
            given = Invitation(COURSE, email, expires_at=hours_ago(1))
            invitations.save(session, given, now=datetime.now(UTC))
    (ada,) = world.ask(request("ada"), hours_ago=2)
    (eve,) = world.ask(request("eve"))

    world.work()

    assert world.answer(ada) == (Code.ENROLLED, None)
    assert world.answer(eve) == (Code.REFUSED, Reason.INVITE_EXPIRED)
    with world.sessions.read() as session:
        assert invitations.find(session, COURSE, "ada@example.org").used_by == "ada"
        assert invitations.find(session, COURSE, "eve@example.org").used_by is None
    world.check()


# --- the latest wish wins -----------------------------------------------------------------


@pytest.mark.parametrize("closed_for", [None, 1.5, 0.5], ids=["open", "between", "after-both"])
def test_enroll_then_deactivate_ends_inactive_in_either_order(world, closed_for):
    world.course(enrollment_end=hours_ago(closed_for) if closed_for else None)
    enroll = world.send([row("ada")], hours_ago=2)
    leave = world.send([row("ada", is_active=False)], hours_ago=1)

    world.deliver(*world.batch_ids(leave), *world.batch_ids(enroll))

    assert world.answer(leave) == (Code.DEACTIVATED, None)
    assert world.answer(enroll) == (Code.SUPERSEDED, None)
    assert world.standing() == INACTIVE
    world.check()


def test_the_lanes_do_not_matter(world):
    world.course(enrollment_end=hours_ago(1))
    enroll = world.send([row("ada")], hours_ago=2)
    (leave,) = world.ask(request("ada", is_active=False))

    world.deliver(*world.batch_ids(leave), *world.batch_ids(enroll))

    assert (world.answer(leave)[0], world.answer(enroll)[0]) == (Code.DEACTIVATED, Code.SUPERSEDED)
    assert world.standing() == INACTIVE


def test_a_delayed_paid_mode_is_applied_after_an_enrollment_without_a_mode(world):
    world.course(modes=["audit", "verified"])
    paid = world.send([row("ada", mode="verified")], hours_ago=1)
    (again,) = world.ask(request("ada"))

    world.deliver(*world.batch_ids(again), *world.batch_ids(paid))

    assert world.answer(again) == (Code.ENROLLED, None)
    assert world.answer(paid) == (Code.MODE_CHANGED, None)
    assert world.standing() == EnrollmentState("verified", is_active=True)
    world.check()


def test_a_delayed_paid_mode_is_applied_after_leaving_and_coming_back(world):
    world.course(modes=["audit", "verified"])
    world.send([row("ada")], hours_ago=4)
    paid = world.send([row("ada", mode="verified")], hours_ago=3)
    leave = world.send([row("ada", is_active=False)], hours_ago=2)
    (again,) = world.ask(request("ada"))
    world.deliver(*(n for n in world.waiting() if n not in world.batch_ids(paid)))

    world.deliver(*world.batch_ids(paid))

    assert world.answer(leave)[0] is Code.DEACTIVATED
    assert world.answer(again)[0] is Code.REACTIVATED
    assert world.answer(paid) == (Code.MODE_CHANGED, None)
    assert world.standing() == EnrollmentState("verified", is_active=True)
    world.check()


def test_a_stale_mode_does_not_undo_a_newer_one(world):
    world.course(modes=["audit", "honor", "verified"])
    stale = world.send([row("ada", mode="audit")], hours_ago=1)
    (paid,) = world.ask(request("ada", mode="verified"))

    world.deliver(*world.batch_ids(paid), *world.batch_ids(stale))

    assert world.answer(stale) == (Code.SUPERSEDED, None)
    assert world.standing() == EnrollmentState("verified", is_active=True)


def test_every_order_of_delivery_comes_to_the_same(world):
    for order in [*permutations(range(4))][::2]:
        course_id = f"course-v1:Uni+Order+{'-'.join(map(str, order))}"
        world.course(course_id, modes=["audit", "verified"])
        files = [
            [row("ada", course_id), row("bob", course_id, mode="verified")],
            [row("ada", course_id, mode="verified"), row("bob", course_id, is_active=False)],
            [row("ada", course_id, is_active=False), row("bob", course_id)],
            [row("eve", course_id, is_active=False), row("ada", course_id)],
        ]
        numbers = [
            world.batch_ids(world.send(file, hours_ago=4 - age))[0]
            for age, file in enumerate(files)
        ]

        world.deliver(*(numbers[place] for place in order))

        assert world.standing("ada", course_id) == EnrollmentState("verified", is_active=True), (
            order
        )
        assert world.standing("bob", course_id) == EnrollmentState("verified", is_active=True), (
            order
        )
        assert world.standing("eve", course_id) == INACTIVE, order
    world.check()


def test_of_equal_stated_times_the_file_taken_in_earlier_ranks_higher(world):
    world.course(modes=["audit", "verified"])
    at = hours_ago(1)
    earlier = world.send([row("ada", mode="verified", requested_at=at)])
    later = world.send([row("ada", mode="audit", requested_at=at)])

    world.deliver(*world.batch_ids(later), *world.batch_ids(earlier))

    assert world.answer(later)[0] is Code.ENROLLED
    assert world.answer(earlier)[0] is Code.MODE_CHANGED
    assert world.standing() == EnrollmentState("verified", is_active=True)


def test_of_equal_stated_times_in_one_file_the_later_line_wins(world):
    world.batch_rows = 1
    world.course()
    at = hours_ago(1)
    file = world.send([row("ada", requested_at=at), row("ada", is_active=False, requested_at=at)])

    world.work()

    assert world.codes(file) == [Code.ENROLLED, Code.DEACTIVATED]
    assert world.standing() == INACTIVE


def test_singles_of_one_commit_rank_by_their_place(world):
    world.course()

    world.ask(request("ada"), request("ada", is_active=False))
    world.work()
    assert world.standing() == INACTIVE

    world.ask(request("bob", is_active=False), request("bob"))
    world.work()
    assert world.standing("bob") == ACTIVE
    world.check()


def test_a_refused_wish_does_not_outrank_an_older_one(world):
    world.course()
    older = world.send([row("ada")], hours_ago=1)
    newer = world.send([row("ada", mode="masters")])

    world.deliver(*world.batch_ids(newer), *world.batch_ids(older))

    assert world.answer(newer) == (Code.REFUSED, Reason.MODE_UNAVAILABLE)
    assert world.answer(older) == (Code.ENROLLED, None)


def test_a_confirmed_wish_is_remembered_without_an_event(world):
    world.course()
    world.ask(request("ada"))
    world.work()
    stale = world.send([row("ada", is_active=False)])
    (confirmed,) = world.ask(request("ada"))

    world.deliver(*world.batch_ids(confirmed), *world.batch_ids(stale))

    assert world.answer(confirmed) == (Code.UNCHANGED, None)
    assert world.answer(stale) == (Code.SUPERSEDED, None)
    assert len(world.events()) == 1
    world.check()


def test_who_leaves_before_enrolling_is_remembered_as_gone(world):
    world.course()
    world.ask(request("ada", is_active=False, requested_at=hours_ago(1)), caller=ADMIN)
    world.ask(request("ada", requested_at=hours_ago(2)), caller=ADMIN)

    world.work()

    assert world.standing() == INACTIVE
    assert [(e.kind, e.before) for e in world.events()] == [("deactivated", None)]


# --- at once ------------------------------------------------------------------------------


def test_two_batches_that_create_the_same_enrollment_at_once_make_one_event(world):
    world.course()
    files = [world.send([row("ada")]) for _ in range(2)]

    together(*(deliveries(world, file) for file in files))

    assert sorted(world.codes(files[0]) + world.codes(files[1])) in (
        [Code.ENROLLED, Code.UNCHANGED],
        [Code.ENROLLED, Code.SUPERSEDED],
    )
    assert len(world.events()) == 1
    world.check()


def deliveries(world, file):
    (number,) = world.batch_ids(file)
    return lambda: world.processor.process(number)


@pytest.mark.parametrize("first_write", ["learner", "enrollment"])
def test_the_same_holds_when_both_have_looked_before_either_writes(postgres_world, first_write):
    world = postgres_world
    world.course(modes=["audit", "verified"])
    if first_write == "enrollment":
        world.learner("ada")
    enroll = world.send([row("ada")], hours_ago=2)
    paid = world.send([row("ada", mode="verified")], hours_ago=1)

    with meeting(world.sessions, f"INSERT INTO {first_write}"):
        together(deliveries(world, enroll), deliveries(world, paid))

    assert world.standing() == EnrollmentState("verified", is_active=True)
    kinds = [event.kind for event in world.events()]
    assert kinds in (["created"], ["created", "mode_changed"])
    world.check()


@pytest.mark.parametrize(
    "wishes",
    [
        ({"is_active": False}, {"mode": "verified"}),
        ({"is_active": False}, {}),
        ({"mode": "verified"}, {"mode": "verified"}),
    ],
    ids=["leave-and-pay", "leave-and-stay", "pay-twice"],
)
def test_two_changes_at_once_come_to_what_they_come_to_one_after_the_other(postgres_world, wishes):
    world = postgres_world
    world.course(modes=["audit", "verified"])
    world.ask(request("ada"), hours_ago=3)
    world.work()
    files = [world.send([row("ada", **wish)]) for wish in wishes]

    with meeting(world.sessions, "INSERT INTO enrollment"):
        together(*(deliveries(world, file) for file in files))

    last = wishes[-1]
    assert world.standing() == EnrollmentState(last.get("mode", "audit"), is_active=True)
    world.check()
