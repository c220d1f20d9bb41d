"""Chains of events: each begins where the one before it ended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollment.domain.auditing import Fault
from enrollment.domain.chains import (
    UNREADABLE,
    Balance,
    KeptEnrollment,
    KeptEvent,
    faults_of_ends,
    faults_of_enrollment,
    faults_of_event,
    is_chained,
    is_folded,
    kind_between,
)
from enrollment.domain.codes import ChangeKind
from enrollment.domain.events import EnrollmentState
from enrollment.domain.model import Attribute

IN, OUT = EnrollmentState("audit", is_active=True), EnrollmentState("audit", is_active=False)
PAID = EnrollmentState("verified", is_active=True)
CREDIT = EnrollmentState(
    "audit", is_active=True, attributes=(Attribute("credit", "provider_id", "asu"),), cohort="blue"
)


def event(**facts):
    return KeptEvent(
        **{
            "id": 32_768,
            "batch_id": 2,
            "position": 5,
            "kind": "deactivated",
            "course_id": "c",
            "username": "ada",
            "submission": "0" * 32,
            "line": 1,
            "before": IN,
            "after": OUT,
            "previous_id": 16_384,
            "is_same": True,
            "previous_after": IN,
            "previous_position": 1,
        }
        | facts
    )


def enrollment(**facts):
    return KeptEnrollment(
        **{
            "learner_id": 1,
            "course_row": 2,
            "username": "ada",
            "course_id": "c",
            "standing": IN,
            "event_id": 16_384,
            "is_same": True,
            "after": IN,
        }
        | facts
    )


FIRST = {"previous_id": None, "is_same": None, "previous_after": None, "previous_position": None}


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (None, IN, ChangeKind.CREATED),
        (None, OUT, ChangeKind.DEACTIVATED),
        (OUT, PAID, ChangeKind.REACTIVATED),
        (PAID, OUT, ChangeKind.DEACTIVATED),
        (IN, PAID, ChangeKind.MODE_CHANGED),
        (IN, CREDIT, ChangeKind.UPDATED),
        (CREDIT, CREDIT, None),
    ],
)
def test_the_greatest_change_names_it(before, after, kind):
    assert kind_between(before, after) is kind


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"kind": "created", "before": None, "after": IN, **FIRST},
        {"kind": "updated", "before": IN, "after": CREDIT},
    ],
)
def test_an_event_that_fits_its_chain_has_no_fault(facts):
    assert is_chained(event(**facts))
    assert list(faults_of_event(event(**facts))) == []


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        ({"kind": "updated"}, Fault.FOLD_KIND),
        ({"after": IN}, Fault.FOLD_KIND),
        ({"after": UNREADABLE}, Fault.FOLD_UNREADABLE),
        ({"before": UNREADABLE, "previous_after": UNREADABLE}, Fault.FOLD_UNREADABLE),
        (FIRST, Fault.FOLD_BEFORE),
        ({"is_same": None, "previous_after": None}, Fault.FOLD_PREVIOUS_MISSING),
        ({"is_same": False}, Fault.FOLD_PREVIOUS_FOREIGN),
        ({"previous_after": PAID}, Fault.FOLD_BEFORE),
        ({"previous_after": UNREADABLE}, Fault.FOLD_BEFORE),
        ({"previous_after": CREDIT}, Fault.FOLD_BEFORE),
        ({"previous_position": 5}, Fault.FEED_ORDER),
    ],
)
def test_an_event_that_does_not_fit_is_named(facts, fault):
    assert not is_chained(event(**facts))
    assert [violation.fault for violation in faults_of_event(event(**facts))] == [fault]


def test_an_event_without_a_place_is_told_elsewhere():
    assert is_chained(event(previous_position=None))


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        ({"standing": PAID}, Fault.FOLD_STATE),
        ({"standing": UNREADABLE, "after": UNREADABLE}, Fault.FOLD_STATE),
        ({"after": None, "is_same": None}, Fault.FOLD_NEWEST_MISSING),
        ({"is_same": False}, Fault.FOLD_NEWEST_FOREIGN),
        ({"username": None, "is_same": None}, Fault.FOLD_OWNER_MISSING),
        ({"course_id": None, "is_same": None}, Fault.FOLD_OWNER_MISSING),
    ],
)
def test_an_enrollment_that_is_not_what_its_events_came_to_is_named(facts, fault):
    assert is_folded(enrollment())
    assert not is_folded(enrollment(**facts))
    assert [violation.fault for violation in faults_of_enrollment(enrollment(**facts))] == [fault]


def test_every_event_has_one_end():
    faults = faults_of_ends({1, 2, 3}, {1: 1, 3: 2, 4: 1})

    assert [(one.fault, one.about.event_id) for one in faults] == [
        (Fault.FOLD_LOOSE, 2),
        (Fault.FOLD_SHARED, 3),
    ]


NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20)


@given(NUMBERS, st.randoms())
def test_the_same_numbers_in_any_order_are_in_balance(numbers, rng):
    balance = Balance()
    for number in numbers:
        balance.add(number)
    for number in rng.sample(numbers, len(numbers)):
        balance.take(number)

    assert balance.off(10) == frozenset()


@given(NUMBERS, st.integers(0, 2**62))
def test_one_number_too_many_is_off(numbers, odd):
    balance = Balance()
    for number in numbers:
        balance.add(number)
        balance.take(number)
    balance.take(odd)

    assert Balance.is_off(odd, balance.off(10))


@pytest.mark.parametrize(
    ("added", "taken"),
    [([5, 8], [6, 7]), ([1, 1], [2, 0]), ([7], [7, 7]), ([], [0]), ([3, 3, 3], [3])],
)
def test_numbers_that_come_to_the_same_sum_do_not_make_up_for_each_other(added, taken):
    balance = Balance()
    for number in added:
        balance.add(65_521 * number)
    for number in taken:
        balance.take(65_521 * number)

    assert balance.off(10) == {0}
