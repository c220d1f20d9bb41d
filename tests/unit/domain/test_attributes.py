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


def test_credit_cannot_be_enrolled_in_without_its_provider():
    world = a_world(a_course(modes=some_modes("credit")))

    assert result(answer(a_request(mode="credit"), world)[0]) == Reason.ATTRIBUTES_MISSING
    outcome, _ = answer(a_request(mode="credit", attributes=PROVIDER), world)
    assert result(outcome) == Code.ENROLLED


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
