"""Decisions on a batch: each request sees the changes of those before it."""

import pytest

from enrollment.domain.batch_decision import abort_outcome, decide_all_or_nothing, decide_batch
from enrollment.domain.codes import ChangeKind, Code, Reason
from enrollment.domain.events import EnrollmentState, fold_changes
from enrollment.domain.model import Invitation, Learner, Outcome
from tests.unit.domain.builders import (
    ALGEBRA,
    MOMENT,
    NOON,
    a_course,
    a_request,
    a_world,
    after,
    an_enrollment,
    code_and_reason,
)

ENROLLED = (Code.ENROLLED, None)
FULL = (Code.REFUSED, Reason.COURSE_FULL)
ABORTED = (Code.REFUSED, Reason.ABORTED)


def outcomes_of(requests, world):
    return [code_and_reason(outcome) for outcome in decide_batch(requests, world).outcomes]


def test_the_last_seat_goes_to_the_first_who_asks():
    requests = [a_request("ada"), a_request("bob"), a_request("ada", intake=2)]

    outcomes = outcomes_of(requests, a_world(a_course(capacity=1)))

    assert outcomes == [ENROLLED, FULL, (Code.UNCHANGED, None)]


def test_a_seat_given_back_is_free_for_the_next():
    world = a_world(a_course(capacity=1), ada=an_enrollment("audit"))
    requests = [a_request("bob"), a_request("ada", is_active=False), a_request("bob", line=2)]

    decision = decide_batch(requests, world)

    outcomes = [code_and_reason(outcome) for outcome in decision.outcomes]
    assert outcomes == [FULL, (Code.DEACTIVATED, None), ENROLLED]
    assert decision.seats[ALGEBRA] == 0


def test_lowering_the_capacity_drops_nobody_and_gives_no_seat():
    world = a_world(a_course(capacity=1, seats_taken=2))
    requests = [a_request("ada"), a_request("bob", is_active=False)]

    assert outcomes_of(requests, world) == [FULL, (Code.DEACTIVATED, None)]


def test_an_inactive_record_takes_no_seat():
    decision = decide_batch(
        [a_request(is_active=False), a_request("bob")], a_world(a_course(capacity=1))
    )

    assert [code_and_reason(o) for o in decision.outcomes] == [(Code.DEACTIVATED, None), ENROLLED]
    assert decision.seats[ALGEBRA] == 1


def test_courses_do_not_share_seats():
    physics = "course-v1:uni+physics+2026"
    algebra = a_course(capacity=1)
    world = a_world(courses={ALGEBRA: algebra, physics: a_course()})

    requests = [a_request("ada"), a_request("bob", course_id=physics), a_request("bob")]

    assert outcomes_of(requests, world) == [ENROLLED, ENROLLED, FULL]


def invitation(**facts):
    return Invitation(ALGEBRA, "ada@uni.test", **facts)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        pytest.param(invitation(), {(ALGEBRA, "ada@uni.test"): "ada"}, id="unused"),
        pytest.param(invitation(used_by="ada"), {}, id="used-before"),
        pytest.param(invitation(expires_at=NOON - MOMENT), {}, id="expired"),
        pytest.param(None, {}, id="none"),
    ],
)
def test_entering_uses_an_invitation_even_in_an_open_course(given, used):
    decision = decide_batch([a_request("ada")], a_world(invitation=given))

    assert [code_and_reason(outcome) for outcome in decision.outcomes] == [ENROLLED]
    assert decision.invitations_used == used


def test_an_invitation_used_in_a_batch_is_used_for_the_rest_of_it():
    shared = {name: Learner(name, "ada@uni.test") for name in ("ada", "bob")}
    world = a_world(a_course(invite_only=True), invitation=invitation(), learners=shared)
    requests = [
        a_request("ada"),
        a_request("bob"),
        a_request("ada", line=2, is_active=False),
        a_request("ada", line=3),
    ]

    assert outcomes_of(requests, world) == [
        ENROLLED,
        (Code.REFUSED, Reason.INVITE_USED),
        (Code.DEACTIVATED, None),
        (Code.REACTIVATED, None),
    ]


def test_who_is_refused_or_withdraws_uses_no_invitation():
    world = a_world(a_course(capacity=0), invitation=invitation())

    decision = decide_batch([a_request(), a_request(is_active=False)], world)

    assert decision.invitations_used == {}


def test_nobody_without_an_address_is_invited():
    learners = {"ada": Learner("ada")}
    world = a_world(a_course(invite_only=True), invitation=invitation(), learners=learners)

    outcomes = outcomes_of([a_request("ada"), a_request("eve")], world)

    assert outcomes == [(Code.REFUSED, Reason.INVITE_REQUIRED)] * 2


def test_all_or_nothing_is_all_where_nothing_is_refused():
    requests = [a_request("ada"), a_request("ada", intake=2), a_request("bob", is_active=False)]

    assert decide_all_or_nothing(requests, a_world()) == decide_batch(requests, a_world())


def test_one_refused_row_refuses_all_others_and_writes_nothing():
    world = a_world(ada=an_enrollment("audit"))
    requests = [a_request("bob"), a_request("ada"), a_request("bob", mode="honor", line=2)]

    decision = decide_all_or_nothing(requests, world)

    assert [code_and_reason(outcome) for outcome in decision.outcomes] == [
        ABORTED,
        ABORTED,
        (Code.REFUSED, Reason.MODE_UNAVAILABLE),
    ]
    assert (decision.enrollments, decision.changes) == ({}, [])
    assert (decision.seats, decision.invitations_used) == ({}, {})
    assert {(o.mode, o.is_active) for o in decision.outcomes} == {(None, None)}


def test_an_unreadable_row_refuses_all_others():
    outcomes = decide_all_or_nothing([a_request("ada")], a_world(), unreadable=1).outcomes

    assert [code_and_reason(outcome) for outcome in outcomes] == [ABORTED]


def test_superseded_and_unchanged_rows_spoil_nothing():
    late = an_enrollment("audit", since=60)
    requests = [a_request("ada", is_active=False), a_request("bob"), a_request("bob", line=2)]

    outcomes = decide_all_or_nothing(requests, a_world(ada=late)).outcomes

    codes = [outcome.code for outcome in outcomes]
    assert codes == [Code.SUPERSEDED, Code.ENROLLED, Code.UNCHANGED]


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (Code.ENROLLED, None, ABORTED),
        (Code.SUPERSEDED, None, ABORTED),
        (Code.INVALID, Reason.INVALID_ROW, (Code.INVALID, Reason.INVALID_ROW)),
        (Code.REFUSED, Reason.COURSE_FULL, FULL),
    ],
)
def test_a_row_that_failed_by_itself_keeps_its_own_reason(code, reason, expected):
    outcome = abort_outcome(Outcome(3, "ada", ALGEBRA, code, reason, None, "audit", is_active=True))

    assert (code_and_reason(outcome), outcome.line) == (expected, 3)


AUDIT, VERIFIED = (
    EnrollmentState("audit", is_active=True),
    EnrollmentState("verified", is_active=True),
)


def test_each_change_begins_where_the_one_before_it_ended():
    requests = [
        a_request("ada"),
        a_request("ada", line=2),
        a_request("ada", line=3, mode="verified"),
        a_request("ada", line=4, is_active=False),
        a_request("ada", line=5),
    ]
    world = a_world()

    decision = decide_batch(requests, world)

    assert [(c.position, c.kind, c.before) for c in decision.changes] == [
        (0, ChangeKind.CREATED, None),
        (2, ChangeKind.MODE_CHANGED, AUDIT),
        (3, ChangeKind.DEACTIVATED, VERIFIED),
        (4, ChangeKind.REACTIVATED, VERIFIED._replace(is_active=False)),
    ]
    assert fold_changes(decision.changes) == {(ALGEBRA, "ada"): VERIFIED}
    assert after(world, decision).courses[ALGEBRA].seats_taken == 1


def test_changes_that_leave_one_out_do_not_add_up():
    changes = decide_batch([a_request(), a_request(line=2, mode="verified")], a_world()).changes

    with pytest.raises(ValueError, match="begins at"):
        fold_changes(changes[1:])


def test_outcomes_name_the_row_and_how_the_enrollment_stands():
    requests = [a_request("ada", line=2, mode="verified"), a_request("bob", line=3, mode="honor")]

    first, second = decide_batch(requests, a_world()).outcomes

    assert first == Outcome(2, "ada", ALGEBRA, Code.ENROLLED, mode="verified", is_active=True)
    assert (second.line, second.user, second.course_id) == (3, "bob", ALGEBRA)
    assert (second.details, second.mode, second.is_active) == (
        {"requested_mode": "honor", "offered": ["audit", "verified"]},
        None,
        None,
    )
