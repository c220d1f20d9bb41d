"""Decisions on one request, for every state of the enrollment."""

import pytest

from enrollment.domain.batch_decision import decide_batch
from enrollment.domain.codes import CallerKind, ChangeKind, Code, Reason
from tests.unit.domain.builders import (
    MOMENT,
    NOON,
    PROVIDER,
    a_course,
    a_request,
    a_world,
    an_enrollment,
    answer,
    enrolled,
    format_state,
    minute,
    parse_change,
    result,
    some_modes,
)

LEARNER, LEAVER, SERVER, STAFF, ADMIN = CallerKind

#: Honor and verified, each active or not: the matrix of mode changes by servers in Open edX.
MATRIX = [
    ("honor+", "honor+", Code.UNCHANGED, "honor+"),
    ("honor+", "honor-", Code.DEACTIVATED, "honor-"),
    ("honor-", "honor+", Code.REACTIVATED, "honor+"),
    ("honor-", "honor-", Code.UNCHANGED, "honor-"),
    ("verified+", "verified+", Code.UNCHANGED, "verified+"),
    ("verified+", "verified-", Code.DEACTIVATED, "verified-"),
    ("verified-", "verified+", Code.REACTIVATED, "verified+"),
    ("verified-", "verified-", Code.UNCHANGED, "verified-"),
    ("honor+", "verified+", Code.MODE_CHANGED, "verified+"),
    ("honor+", "verified-", Reason.MODE_MISMATCH, "honor+"),
    ("honor-", "verified+", Code.REACTIVATED, "verified+"),
    ("honor-", "verified-", Code.MODE_CHANGED, "verified-"),
    ("verified+", "honor+", Code.MODE_CHANGED, "honor+"),
    ("verified+", "honor-", Reason.MODE_MISMATCH, "verified+"),
    ("verified-", "honor+", Code.REACTIVATED, "honor+"),
    ("verified-", "honor-", Code.MODE_CHANGED, "honor-"),
]


@pytest.mark.parametrize("by", [SERVER, STAFF, ADMIN])
@pytest.mark.parametrize(("before", "change", "becomes", "then"), MATRIX)
def test_privileged_callers_move_between_modes_and_activity(by, before, change, becomes, then):
    world = a_world(a_course(modes=some_modes("honor", "verified")), ada=enrolled(before))

    outcome, state = answer(a_request(by=by, stated=False, **parse_change(change)), world)

    assert (result(outcome), format_state(state)) == (becomes, then)


@pytest.mark.parametrize("by", [SERVER, STAFF, ADMIN])
@pytest.mark.parametrize(
    ("before", "change", "becomes", "then"),
    [
        ("", "+", Code.ENROLLED, "audit+"),
        ("", "verified+", Code.ENROLLED, "verified+"),
        ("", "-", Code.DEACTIVATED, "audit-"),
        ("", "verified-", Code.DEACTIVATED, "verified-"),
        ("audit+", "+", Code.UNCHANGED, "audit+"),
        ("verified+", "+", Code.UNCHANGED, "verified+"),
        ("verified+", "-", Code.DEACTIVATED, "verified-"),
        ("verified-", "-", Code.UNCHANGED, "verified-"),
        ("verified-", "+", Code.REACTIVATED, "verified+"),
        ("verified+", "honor+", Reason.MODE_UNAVAILABLE, "verified+"),
        ("verified+", "honor-", Reason.MODE_MISMATCH, "verified+"),
        ("verified-", "honor-", Reason.MODE_UNAVAILABLE, "verified-"),
        ("verified-", "honor+", Reason.MODE_UNAVAILABLE, "verified-"),
        ("", "honor-", Reason.MODE_UNAVAILABLE, ""),
        ("", "honor+", Reason.MODE_UNAVAILABLE, ""),
        ("honor-", "+", Code.REACTIVATED, "audit+"),
        ("honor+", "-", Code.DEACTIVATED, "honor-"),
        ("honor+", "honor-", Code.DEACTIVATED, "honor-"),
        ("honor+", "honor+", Code.UNCHANGED, "honor+"),
    ],
)
def test_a_mode_not_named_is_kept_or_the_default(by, before, change, becomes, then):
    world = a_world(ada=enrolled(before))

    outcome, state = answer(a_request(by=by, stated=False, **parse_change(change)), world)

    assert (result(outcome), format_state(state)) == (becomes, then)


@pytest.mark.parametrize(
    ("before", "change", "becomes", "then"),
    [
        ("", "+", Code.ENROLLED, "audit+"),
        ("", "honor+", Code.ENROLLED, "honor+"),
        ("", "-", Code.DEACTIVATED, "audit-"),
        ("audit+", "+", Code.UNCHANGED, "audit+"),
        ("audit+", "-", Code.UNCHANGED, "audit+"),
        ("audit+", "audit-", Code.UNCHANGED, "audit+"),
        ("audit+", "honor+", Code.UNCHANGED, "audit+"),
        ("audit+", "honor-", Code.UNCHANGED, "audit+"),
        ("verified+", "+", Code.UNCHANGED, "verified+"),
        ("verified+", "audit+", Code.UNCHANGED, "verified+"),
        ("verified-", "+", Code.REACTIVATED, "verified+"),
        ("verified-", "audit+", Code.REACTIVATED, "audit+"),
        ("audit-", "-", Code.UNCHANGED, "audit-"),
    ],
)
def test_a_learner_comes_and_comes_back_but_changes_nothing_running(before, change, becomes, then):
    course = a_course(modes=some_modes("audit", "honor", "verified"))

    outcome, state = answer(
        a_request(by=LEARNER, stated=False, **parse_change(change)),
        a_world(course, ada=enrolled(before)),
    )

    assert (result(outcome), format_state(state)) == (becomes, then)


def test_a_learner_who_may_withdraw_does():
    request = a_request(by=LEARNER, stated=False, is_active=False)
    request = request._replace(rights=request.rights._replace(deactivate=True))

    outcome, state = answer(request, a_world(ada=an_enrollment("audit")))

    assert (result(outcome), format_state(state)) == (Code.DEACTIVATED, "audit-")


ONLY_PAID = some_modes("professional")
CREDIT = some_modes("verified", "credit")
FAMILIES = [
    pytest.param(some_modes("audit"), "audit", Code.UNCHANGED, id="audit"),
    pytest.param(some_modes("audit", "verified"), "audit", Code.UNCHANGED, id="audit-of-two"),
    pytest.param(some_modes("audit", "verified"), "verified", Code.MODE_CHANGED, id="verified"),
    pytest.param(ONLY_PAID, "professional", Reason.MODE_UNAVAILABLE, id="professional"),
    pytest.param(CREDIT, "verified", Reason.MODE_UNAVAILABLE, id="verified-with-credit"),
    pytest.param(CREDIT, "credit", Reason.MODE_UNAVAILABLE, id="credit"),
]


@pytest.mark.parametrize(("modes", "mode", "default_afterwards"), FAMILIES)
def test_withdrawing_keeps_the_mode_and_may_be_repeated(modes, mode, default_afterwards):
    world = a_world(a_course(modes=modes))
    change = {"mode": mode, "by": SERVER, "stated": False}
    requests = [
        a_request(attributes=PROVIDER, intake=1, **change),
        a_request(is_active=False, intake=2, **change),
        a_request(is_active=False, intake=3, **change),
        a_request(is_active=False, intake=4, **(change | {"mode": "audit"})),
    ]

    outcomes = decide_batch(requests, world).outcomes

    assert [result(outcome) for outcome in outcomes] == [
        Code.ENROLLED,
        Code.DEACTIVATED,
        Code.UNCHANGED,
        default_afterwards,
    ]
    assert outcomes[2].mode == mode


OVER = NOON - MOMENT
LATE = a_course(
    modes=some_modes("audit", verified=OVER),
    enrollment_end=OVER,
    invite_only=True,
    capacity=0,
)


@pytest.mark.parametrize("by", [LEARNER, SERVER, STAFF, ADMIN])
@pytest.mark.parametrize(
    ("before", "change", "becomes", "then"),
    [
        ("", "-", Code.DEACTIVATED, "audit-"),
        ("", "verified-", Code.DEACTIVATED, "verified-"),
        ("", "honor-", Reason.MODE_UNAVAILABLE, ""),
        ("verified-", "verified-", Code.UNCHANGED, "verified-"),
        ("audit-", "verified-", Code.MODE_CHANGED, "verified-"),
    ],
)
def test_withdrawing_asks_neither_window_nor_seats_nor_deadlines(by, before, change, becomes, then):
    outcome, state = answer(
        a_request(by=by, stated=False, **parse_change(change)), a_world(LATE, ada=enrolled(before))
    )

    assert (result(outcome), format_state(state)) == (becomes, then)


@pytest.mark.parametrize(
    ("modes", "site", "mode"),
    [
        pytest.param(some_modes("honor", "audit"), "honor", "honor", id="the-default"),
        pytest.param(some_modes("professional", "verified"), "audit", "professional", id="first"),
        pytest.param(some_modes("credit"), "audit", "credit", id="even-credit"),
        pytest.param((), "honor", "audit", id="no-modes"),
    ],
)
def test_the_first_record_of_who_withdraws_has_a_mode(modes, site, mode):
    world = a_world(a_course(modes=modes), site_default=site)

    outcome, state = answer(a_request(is_active=False), world)

    assert (result(outcome), format_state(state)) == (Code.DEACTIVATED, f"{mode}-")


def test_a_first_record_of_who_withdraws_is_told_as_a_deactivation_from_nothing():
    (change,) = decide_batch([a_request(is_active=False)], a_world()).changes

    assert (change.kind, change.before) == (ChangeKind.DEACTIVATED, None)
    assert not change.after.is_active


@pytest.mark.parametrize(
    ("by", "force", "before", "becomes"),
    [
        (SERVER, False, "audit+", Code.MODE_CHANGED),
        (ADMIN, False, "audit+", Code.MODE_CHANGED),
        (STAFF, False, "audit+", Reason.MODE_EXPIRED),
        (STAFF, True, "audit+", Code.MODE_CHANGED),
        (SERVER, False, "audit-", Code.REACTIVATED),
        (STAFF, False, "audit-", Reason.MODE_EXPIRED),
        (STAFF, True, "audit-", Code.REACTIVATED),
        (SERVER, False, "", Reason.MODE_EXPIRED),
        (ADMIN, False, "", Reason.MODE_EXPIRED),
        (ADMIN, True, "", Code.ENROLLED),
        (STAFF, True, "", Code.ENROLLED),
        (SERVER, True, "", Reason.MODE_EXPIRED),
    ],
)
def test_a_mode_past_its_deadline_is_for_servers_to_change_to_or_staff_to_force(
    by, force, before, becomes
):
    world = a_world(a_course(modes=some_modes("audit", verified=OVER)), ada=enrolled(before))

    outcome, _ = answer(a_request(by=by, stated=False, mode="verified", force=force), world)

    assert result(outcome) == becomes


@pytest.mark.parametrize("before", ["", "audit-"])
@pytest.mark.parametrize(
    ("facts", "forced", "becomes"),
    [
        pytest.param({"enrollment_end": OVER}, False, Reason.ENROLLMENT_CLOSED, id="closed"),
        pytest.param({"enrollment_end": OVER}, True, None, id="closed-forced"),
        pytest.param({"invite_only": True}, False, Reason.INVITE_REQUIRED, id="invite-only"),
        pytest.param({"invite_only": True}, True, None, id="invite-only-forced"),
        pytest.param({"capacity": 0}, False, Reason.COURSE_FULL, id="full"),
        pytest.param({"capacity": 0}, True, Reason.COURSE_FULL, id="full-forced"),
    ],
)
def test_coming_back_is_judged_like_coming(before, facts, forced, becomes):
    outcome, _ = answer(a_request(force=forced), a_world(a_course(**facts), ada=enrolled(before)))

    assert result(outcome) == (becomes or (Code.REACTIVATED if before else Code.ENROLLED))


@pytest.mark.parametrize(
    ("change", "becomes"),
    [
        pytest.param({}, Code.UNCHANGED, id="again"),
        pytest.param({"mode": "audit"}, Code.UNCHANGED, id="again-with-its-mode"),
        pytest.param({"attributes": PROVIDER}, Code.UPDATED, id="attributes"),
        pytest.param({"cohort": "red"}, Code.UPDATED, id="cohort"),
        pytest.param({"mode": "verified"}, Code.MODE_CHANGED, id="mode"),
        pytest.param({"is_active": False}, Code.DEACTIVATED, id="withdrawal"),
    ],
)
def test_who_is_in_stays_in_when_the_course_closes_or_fills_up(change, becomes):
    course = a_course(enrollment_end=OVER, invite_only=True, capacity=1, cohorts=("red",))

    outcome, _ = answer(a_request(**change), a_world(course, ada=an_enrollment("audit")))

    assert result(outcome) == becomes


def test_a_record_is_created_once():
    world = a_world(ada=an_enrollment("audit", is_active=False))

    (record,) = decide_batch([a_request()], world).enrollments.values()

    assert record.created == minute(-60)
