"""Attributes, cohorts and unknown learners."""

import pytest

from enrollment.domain.batch_decision import decide_batch
from enrollment.domain.codes import CallerKind, Code, Reason
from enrollment.domain.model import Attribute, Learner
from tests.unit.domain.builders import (
    MOMENT,
    NOON,
    PROVIDER,
    a_course,
    a_request,
    a_world,
    an_enrollment,
    answer,
    code_and_reason,
    enrolled,
    format_state,
    result,
    some_modes,
)

OVER = NOON - MOMENT
NAMED = (Attribute("order", "order_number", "EDX-1000"),)


@pytest.mark.parametrize(
    ("had", "change", "becomes", "has"),
    [
        pytest.param(NAMED, {"attributes": NAMED}, Code.UNCHANGED, NAMED, id="same"),
        pytest.param(NAMED, {"attributes": PROVIDER}, Code.UPDATED, PROVIDER, id="replaced"),
        pytest.param(NAMED, {"attributes": ()}, Code.UPDATED, (), id="cleared"),
        pytest.param(NAMED, {}, Code.UNCHANGED, NAMED, id="left-alone"),
        pytest.param((), {"attributes": ()}, Code.UNCHANGED, (), id="nothing-to-clear"),
        pytest.param(
            NAMED,
            {"mode": "credit", "attributes": PROVIDER},
            Code.MODE_CHANGED,
            PROVIDER,
            id="greatest-change-is-named",
        ),
        pytest.param(NAMED, {"mode": "credit"}, Reason.ATTRIBUTES_MISSING, NAMED, id="no-provider"),
        pytest.param(
            PROVIDER, {"mode": "credit"}, Code.MODE_CHANGED, PROVIDER, id="provider-known"
        ),
    ],
)
def test_attributes_are_replaced_as_a_whole(had, change, becomes, has):
    course = a_course(modes=some_modes("audit", "credit"))
    world = a_world(course, ada=an_enrollment("audit", attributes=had))

    outcome, state = answer(a_request(**change), world)

    assert (result(outcome), state.attributes) == (becomes, has)


@pytest.mark.parametrize(
    ("before", "change"),
    [
        ("", {}),
        ("audit+", {}),
        ("audit-", {}),
        ("audit+", {"mode": "verified"}),
        ("audit+", {"is_active": False}),
    ],
)
def test_an_unknown_cohort_refuses_the_whole_request(before, change):
    world = a_world(ada=enrolled(before))

    outcome, state = answer(a_request(cohort="blue", **change), world)

    assert (result(outcome), format_state(state)) == (Reason.COHORT_NOT_FOUND, before)


@pytest.mark.parametrize(
    ("before", "change", "becomes"),
    [
        ("", {}, Code.ENROLLED),
        ("", {"attributes": ()}, Code.ENROLLED),
        ("", {"attributes": NAMED}, Reason.ATTRIBUTES_MISSING),
        ("", {"attributes": PROVIDER}, Code.ENROLLED),
        ("", {"is_active": False}, Code.DEACTIVATED),
        ("", {"is_active": False, "attributes": NAMED}, Reason.ATTRIBUTES_MISSING),
        ("audit+", {}, Reason.ATTRIBUTES_MISSING),
        ("audit+", {"attributes": ()}, Reason.ATTRIBUTES_MISSING),
        ("audit+", {"attributes": PROVIDER}, Code.MODE_CHANGED),
        ("audit-", {}, Reason.ATTRIBUTES_MISSING),
        ("audit-", {"is_active": False}, Reason.ATTRIBUTES_MISSING),
        ("audit-", {"is_active": False, "attributes": PROVIDER}, Code.MODE_CHANGED),
        ("credit+", {}, Code.UNCHANGED),
        ("credit+", {"cohort": "red"}, Code.UPDATED),
        ("credit+", {"attributes": ()}, Code.UNCHANGED),
        ("credit+", {"attributes": NAMED}, Reason.ATTRIBUTES_MISSING),
        ("credit+", {"is_active": False}, Code.DEACTIVATED),
        ("credit+", {"is_active": False, "attributes": NAMED}, Reason.ATTRIBUTES_MISSING),
        ("credit-", {}, Code.REACTIVATED),
        ("credit-", {"attributes": NAMED}, Reason.ATTRIBUTES_MISSING),
    ],
)
def test_credit_needs_its_provider_unless_it_is_created_without_attributes(before, change, becomes):
    course = a_course(modes=some_modes("audit", "credit"), cohorts=("red",))

    outcome, state = answer(
        a_request(mode="credit", **change), a_world(course, ada=enrolled(before))
    )

    assert result(outcome) == becomes
    assert format_state(state) == before or becomes is not Reason.ATTRIBUTES_MISSING


@pytest.mark.parametrize(
    ("accepts", "course_id", "username", "becomes"),
    [
        pytest.param(True, "a/b/c", "ada", Reason.COURSE_NOT_FOUND, id="course"),
        pytest.param(False, None, "eve", Reason.LEARNER_NOT_FOUND, id="learner"),
        pytest.param(False, "a/b/c", "eve", Reason.LEARNER_NOT_FOUND, id="learner-before-course"),
        pytest.param(True, None, "eve", Code.ENROLLED, id="learner-at-first-sight"),
        pytest.param(False, None, "ada", Code.ENROLLED, id="both-known"),
    ],
)
@pytest.mark.parametrize("is_active", [True, False])
def test_course_and_where_it_matters_learner_must_be_known(
    accepts, course_id, username, becomes, is_active
):
    world = a_world(accepts_unknown_learners=accepts)
    named = {} if course_id is None else {"course_id": course_id}

    outcome, _ = answer(a_request(username, is_active=is_active, **named), world)

    withdrawn = becomes is Code.ENROLLED and not is_active
    assert result(outcome) == (Code.DEACTIVATED if withdrawn else becomes)


def test_staff_as_the_learner_may_enter_a_closed_course():
    closed = a_course(enrollment_end=OVER)
    staff = {"ada": Learner("ada", is_staff=True), "bob": Learner("bob")}

    requests = [a_request("ada", stated=False), a_request("bob", stated=False)]
    outcomes = decide_batch(requests, a_world(closed, learners=staff)).outcomes

    assert [code_and_reason(outcome) for outcome in outcomes] == [
        (Code.ENROLLED, None),
        (Code.REFUSED, Reason.ENROLLMENT_CLOSED),
    ]


@pytest.mark.parametrize("course", [{"enrollment_end": OVER}, {"invite_only": True}])
@pytest.mark.parametrize("known", [{}, {"ada": Learner("ada", "ada@example.org")}])
def test_staff_of_the_course_may_enter_it_as_learners(course, known):
    world = a_world(
        a_course(**course), learners=known, course_staff={(a_course().course_id, "ada")}
    )

    requests = [a_request(name, stated=False) for name in ("ada", "bob")]
    outcomes = decide_batch(requests, world).outcomes

    assert [outcome.code for outcome in outcomes] == [Code.ENROLLED, Code.REFUSED]


def test_staff_of_the_course_do_not_pass_the_seats():
    full = a_course(invite_only=True, capacity=0)
    world = a_world(full, course_staff={(full.course_id, "ada")})

    assert result(answer(a_request(), world)[0]) == Reason.COURSE_FULL


#: What Open edX checks, in its order: each fault with the course or the request that has it.
LATE = {"enrollment_end": OVER}
NO_PROVIDER = {"mode": "credit", "attributes": NAMED}


@pytest.mark.parametrize(
    ("before", "course", "change", "first"),
    [
        ("audit+", {}, {"is_active": False, **NO_PROVIDER}, Reason.MODE_MISMATCH),
        ("audit+", {}, {"is_active": False, "mode": "gone"}, Reason.MODE_MISMATCH),
        ("audit+", {}, {"is_active": False, "mode": "honor", "cohort": "x"}, Reason.MODE_MISMATCH),
        ("audit+", {}, NO_PROVIDER, Reason.ATTRIBUTES_MISSING),
        ("audit-", {}, {"is_active": False, **NO_PROVIDER}, Reason.ATTRIBUTES_MISSING),
        ("", {}, NO_PROVIDER, Reason.ATTRIBUTES_MISSING),
        ("", LATE, {"mode": "gone"}, Reason.MODE_UNAVAILABLE),
        ("", {"invite_only": True}, {"mode": "gone"}, Reason.MODE_UNAVAILABLE),
        ("", {"capacity": 0}, {"mode": "gone"}, Reason.MODE_UNAVAILABLE),
        ("", {}, {"mode": "gone", "cohort": "x"}, Reason.MODE_UNAVAILABLE),
        ("audit-", LATE, {"mode": "gone"}, Reason.MODE_UNAVAILABLE),
        ("audit+", {}, {"mode": "gone", "cohort": "x"}, Reason.MODE_UNAVAILABLE),
        (
            "audit-",
            {},
            {"is_active": False, "mode": "gone", "cohort": "x"},
            Reason.MODE_UNAVAILABLE,
        ),
        ("", LATE | {"capacity": 0}, {}, Reason.ENROLLMENT_CLOSED),
        ("", LATE | {"invite_only": True}, {}, Reason.ENROLLMENT_CLOSED),
        ("", {"invite_only": True, "capacity": 0}, {}, Reason.INVITE_REQUIRED),
        ("", LATE, {"cohort": "x"}, Reason.ENROLLMENT_CLOSED),
        ("", {"capacity": 0}, {"cohort": "x"}, Reason.COURSE_FULL),
        ("audit-", {"capacity": 0}, {"cohort": "x"}, Reason.COURSE_FULL),
    ],
)
def test_of_two_faults_the_one_that_open_edx_checks_first_refuses(before, course, change, first):
    world = a_world(a_course(**course), ada=enrolled(before))

    outcome, state = answer(a_request(**change), world)

    assert (result(outcome), format_state(state)) == (first, before)


def test_a_mismatch_says_both_modes():
    outcome, _ = answer(
        a_request(mode="honor", is_active=False), a_world(ada=an_enrollment("verified"))
    )

    assert outcome.details == {"active_mode": "verified", "requested_mode": "honor"}
    assert (outcome.mode, outcome.is_active) == ("verified", True)


def test_a_learner_who_names_another_mode_changes_nothing_with_it():
    world = a_world(a_course(cohorts=("red",)), ada=an_enrollment("verified"))
    request = a_request(by=CallerKind.LEARNER, mode="audit", attributes=NAMED, cohort="red")

    outcome, state = answer(request, world)

    assert result(outcome) == Code.UNCHANGED
    assert (state.mode, state.attributes, state.cohort) == ("verified", (), None)
