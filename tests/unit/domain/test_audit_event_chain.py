"""Event chains: each event starts at the state after the previous one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollment.domain.audit.event_chain import (
    UNREADABLE_STATE,
    EnrollmentRecord,
    EventRecord,
    MultisetHash,
    check_enrollment,
    check_event,
    check_successors,
    kind_between,
)
from enrollment.domain.audit.violations import ViolationKind
from enrollment.domain.codes import ChangeKind
from enrollment.domain.events import EnrollmentState
from enrollment.domain.model import Attribute
from enrollment.storage.event_ids import event_id

IN, OUT = EnrollmentState("audit", is_active=True), EnrollmentState("audit", is_active=False)
PAID = EnrollmentState("verified", is_active=True)
CREDIT = EnrollmentState(
    "audit", is_active=True, attributes=(Attribute("credit", "provider_id", "asu"),), cohort="blue"
)


def event(**facts):
    return EventRecord(
        **{
            "id": event_id(2, 0),
            "batch_id": 2,
            "position": 5,
            "kind": "deactivated",
            "course_id": "c",
            "username": "ada",
            "submission": "0" * 32,
            "line": 1,
            "before": IN,
            "after": OUT,
            "previous_id": event_id(1, 0),
            "is_same": True,
            "previous_after": IN,
            "previous_position": 1,
        }
        | facts
    )


def enrollment(**facts):
    return EnrollmentRecord(
        **{
            "learner_id": 1,
            "course_row": 2,
            "username": "ada",
            "course_id": "c",
            "state": IN,
            "event_id": event_id(1, 0),
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
        {"kind": "imported", "before": IN, "after": CREDIT},
    ],
)
def test_an_event_that_fits_its_chain_has_no_fault(facts):
    assert list(check_event(event(**facts))) == []


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        ({"kind": "updated"}, ViolationKind.FOLD_KIND),
        ({"after": IN}, ViolationKind.FOLD_KIND),
        ({"after": UNREADABLE_STATE}, ViolationKind.FOLD_UNREADABLE),
        (
            {"before": UNREADABLE_STATE, "previous_after": UNREADABLE_STATE},
            ViolationKind.FOLD_UNREADABLE,
        ),
        (FIRST, ViolationKind.FOLD_BEFORE),
        ({"is_same": None, "previous_after": None}, ViolationKind.FOLD_PREVIOUS_MISSING),
        ({"is_same": False}, ViolationKind.FOLD_PREVIOUS_FOREIGN),
        ({"previous_after": PAID}, ViolationKind.FOLD_BEFORE),
        ({"previous_after": UNREADABLE_STATE}, ViolationKind.FOLD_BEFORE),
        ({"previous_after": CREDIT}, ViolationKind.FOLD_BEFORE),
        ({"previous_position": 5}, ViolationKind.FEED_ORDER),
    ],
)
def test_an_event_that_does_not_fit_is_named(facts, fault):
    assert [violation.kind for violation in check_event(event(**facts))] == [fault]


def test_an_event_without_a_place_is_told_elsewhere():
    assert list(check_event(event(previous_position=None))) == []


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        ({"state": PAID}, ViolationKind.FOLD_STATE),
        ({"state": UNREADABLE_STATE, "after": UNREADABLE_STATE}, ViolationKind.FOLD_STATE),
        ({"after": None, "is_same": None}, ViolationKind.FOLD_NEWEST_MISSING),
        ({"is_same": False}, ViolationKind.FOLD_NEWEST_FOREIGN),
        ({"username": None, "is_same": None}, ViolationKind.FOLD_OWNER_MISSING),
        ({"course_id": None, "is_same": None}, ViolationKind.FOLD_OWNER_MISSING),
    ],
)
def test_an_enrollment_that_is_not_what_its_events_came_to_is_named(facts, fault):
    assert list(check_enrollment(enrollment())) == []
    assert [violation.kind for violation in check_enrollment(enrollment(**facts))] == [fault]


def test_every_event_has_one_end():
    faults = check_successors({1, 2, 3}, {1: 1, 3: 2, 4: 1})

    assert [(one.kind, one.about.event_id) for one in faults] == [
        (ViolationKind.FOLD_LOOSE, 2),
        (ViolationKind.FOLD_SHARED, 3),
    ]


NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20)


@given(NUMBERS, st.randoms())
def test_the_same_numbers_in_any_order_are_the_same_multiset(numbers, rng):
    balance = MultisetHash()
    balance.add(numbers)
    balance.remove(rng.sample(numbers, len(numbers)))

    assert balance.differing(10) == frozenset()


@given(NUMBERS, st.integers(0, 2**62))
def test_one_number_too_many_makes_its_bucket_differ(numbers, odd):
    balance = MultisetHash()
    balance.add(numbers)
    balance.remove([*numbers, odd])

    assert balance.differing(10) == {odd % MultisetHash.BUCKETS}


@pytest.mark.parametrize(
    ("added", "removed"),
    [([5, 8], [6, 7]), ([1, 1], [2, 0]), ([7], [7, 7]), ([], [0]), ([3, 3, 3], [3])],
)
def test_numbers_that_come_to_the_same_sum_do_not_make_up_for_each_other(added, removed):
    balance = MultisetHash()
    balance.add(MultisetHash.BUCKETS * number for number in added)
    balance.remove(MultisetHash.BUCKETS * number for number in removed)

    assert balance.differing(10) == {0}
