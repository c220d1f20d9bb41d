"""The change of highest precedence wins, in any order of processing."""

import pytest

from enrollment.domain.batch_decision import decide_batch
from enrollment.domain.codes import CallerKind, Code, Reason
from enrollment.domain.model import Attribute, precedence_of
from tests.unit.domain.builders import (
    NOON,
    PROVIDER,
    a_course,
    a_request,
    a_world,
    after,
    an_enrollment,
    answer,
    code_and_reason,
    minute,
    some_modes,
    states,
)

ORDER = (Attribute("order", "number", "1"),)


def play(*requests, world=None):
    """Returns the outcome codes of requests in order, and the final state of ada's enrollment."""
    world = world or a_world()
    decision = decide_batch(requests, world)
    (state,) = states(after(world, decision)).values()
    return [outcome.code for outcome in decision.outcomes], state


def test_an_older_wish_that_comes_later_is_superseded():
    codes, state = play(
        a_request(at=minute(2), is_active=False, intake=1),
        a_request(at=minute(1), is_active=True, intake=2),
    )

    assert codes == [Code.DEACTIVATED, Code.SUPERSEDED]
    assert not state.is_active


def test_an_older_wish_still_settles_a_mode_that_was_only_a_default():
    codes, state = play(
        a_request(at=minute(2), intake=1),
        a_request(at=minute(1), mode="verified", intake=2),
    )

    assert codes == [Code.ENROLLED, Code.MODE_CHANGED]
    assert (state.mode, state.is_active) == ("verified", True)


def test_an_older_wish_still_settles_the_mode_of_who_withdrew_and_brings_nobody_back():
    codes, state = play(
        a_request(at=minute(2), is_active=False, intake=1),
        a_request(at=minute(1), mode="verified", intake=2),
    )

    assert codes == [Code.DEACTIVATED, Code.MODE_CHANGED]
    assert (state.mode, state.is_active) == ("verified", False)


def test_a_stated_mode_that_is_older_than_a_stated_one_is_dropped():
    codes, state = play(
        a_request(at=minute(2), mode="audit", intake=1),
        a_request(at=minute(1), mode="verified", is_active=False, intake=2),
    )

    assert codes == [Code.ENROLLED, Code.SUPERSEDED]
    assert (state.mode, state.is_active) == ("audit", True)


def test_confirming_counts_as_a_wish():
    codes, state = play(
        a_request(at=minute(1), intake=1),
        a_request(at=minute(3), intake=2),
        a_request(at=minute(2), is_active=False, intake=3),
    )

    assert codes == [Code.ENROLLED, Code.UNCHANGED, Code.SUPERSEDED]
    assert state.is_active


def test_a_refused_wish_moves_no_clock():
    codes, state = play(
        a_request(at=minute(1), intake=1),
        a_request(at=minute(3), mode="honor", intake=2),
        a_request(at=minute(2), is_active=False, intake=3),
    )

    assert codes == [Code.ENROLLED, Code.REFUSED, Code.DEACTIVATED]
    assert not state.is_active


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        pytest.param({"intake": 1}, {"intake": 2}, "first", id="stated-earlier-intake"),
        pytest.param(
            {"intake": 1, "line": 1}, {"intake": 1, "line": 2}, "second", id="stated-line"
        ),
        pytest.param(
            {"intake": 1, "stated": False}, {"intake": 2, "stated": False}, "second", id="received"
        ),
        pytest.param(
            {"intake": 1, "line": 1, "stated": False},
            {"intake": 1, "line": 2, "stated": False},
            "second",
            id="received-line",
        ),
        pytest.param(
            {"intake": 1, "stated": False}, {"intake": 2}, "second", id="received-then-stated"
        ),
        pytest.param({"intake": 1, "line": 9}, {"intake": 2, "line": 1}, "first", id="not-by-line"),
    ],
)
@pytest.mark.parametrize("swapped", [False, True], ids=["in-order", "swapped"])
def test_wishes_of_one_moment_are_ranked(first, second, winner, swapped):
    requests = [a_request(mode="audit", **first), a_request(mode="verified", **second)]

    _, state = play(*(reversed(requests) if swapped else requests))

    assert state.mode == ("audit" if winner == "first" else "verified")


@pytest.mark.parametrize(
    ("again", "code"),
    [
        pytest.param({}, Code.UNCHANGED, id="same"),
        pytest.param({"mode": "verified"}, Code.UNCHANGED, id="same-without-attributes"),
        pytest.param({"mode": "audit"}, Code.SUPERSEDED, id="other-mode"),
        pytest.param({"is_active": False}, Code.SUPERSEDED, id="other-activity"),
        pytest.param(
            {"mode": "verified", "attributes": PROVIDER}, Code.SUPERSEDED, id="attributes"
        ),
        pytest.param({"mode": "verified", "cohort": "blue"}, Code.SUPERSEDED, id="other-cohort"),
        pytest.param({"at": minute(-1)}, Code.SUPERSEDED, id="earlier"),
    ],
)
def test_a_wish_that_only_ties_and_asks_for_nothing_new_is_unchanged(again, code):
    world = a_world(a_course(cohorts=("red", "blue")))
    first = a_request(mode="verified", attributes=ORDER, cohort="red", intake=1)
    world = after(world, decide_batch([first], world))

    decision = decide_batch([a_request(intake=2, **again)], world)

    assert code_and_reason(decision.outcomes[0]) == (code, None)
    assert (decision.enrollments, decision.changes) == ({}, [])


def test_attributes_and_cohort_go_with_the_mode_they_were_named_with():
    world = a_world(a_course(cohorts=("red",)))

    codes, state = play(
        a_request(at=minute(2), mode="audit", intake=1),
        a_request(at=minute(1), mode="verified", attributes=ORDER, cohort="red", intake=2),
        world=world,
    )

    assert codes == [Code.ENROLLED, Code.SUPERSEDED]
    assert (state.attributes, state.cohort) == ((), None)


def test_older_attributes_that_come_without_a_mode_are_superseded_by_newer_ones():
    codes, state = play(
        a_request(at=minute(2), attributes=PROVIDER, intake=1),
        a_request(at=minute(1), attributes=ORDER, intake=2),
    )

    assert codes == [Code.ENROLLED, Code.SUPERSEDED]
    assert state.attributes == PROVIDER


def test_a_mode_that_was_only_kept_is_no_wish():
    codes, state = play(
        a_request(at=minute(1), mode="verified", intake=1),
        a_request(at=minute(3), intake=2),
        a_request(at=minute(2), mode="audit", intake=3),
    )

    assert codes == [Code.ENROLLED, Code.UNCHANGED, Code.MODE_CHANGED]
    assert state.mode == "audit"


def test_an_older_cohort_is_superseded_by_a_newer_one():
    codes, state = play(
        a_request(at=minute(1), cohort="red", intake=1),
        a_request(at=minute(3), cohort="blue", intake=2),
        a_request(at=minute(2), cohort="red", intake=3),
        world=a_world(a_course(cohorts=("red", "blue"))),
    )

    assert codes == [Code.ENROLLED, Code.UPDATED, Code.SUPERSEDED]
    assert state.cohort == "blue"


STALE = minute(-30)
OVER = a_course(modes=some_modes("audit", verified=minute(-60)))


@pytest.mark.parametrize(
    ("mode", "attributes", "expected"),
    [
        pytest.param("verified", None, (Code.SUPERSEDED, None), id="expired"),
        pytest.param("verified", ORDER, (Code.UPDATED, None), id="expired-with-attributes"),
        pytest.param("honor", None, (Code.REFUSED, Reason.MODE_UNAVAILABLE), id="never-offered"),
    ],
)
def test_a_stale_withdrawal_moves_nobody_into_an_expired_mode(mode, attributes, expected):
    world = a_world(OVER)
    back = a_request(by=CallerKind.STAFF, intake=1)
    withdrawn = a_request(
        by=CallerKind.STAFF,
        at=STALE,
        intake=2,
        is_active=False,
        mode=mode,
        attributes=attributes,
    )
    world = after(world, decide_batch([back], world))

    outcome, state = answer(withdrawn, world)

    assert code_and_reason(outcome) == expected
    assert (state.mode, state.is_active) == ("audit", True)


def test_a_stale_withdrawal_ends_alike_before_and_after_the_coming_back():
    back = a_request(by=CallerKind.STAFF, intake=1)
    withdrawn = a_request(
        by=CallerKind.STAFF,
        at=STALE,
        intake=2,
        is_active=False,
        mode="verified",
        attributes=ORDER,
    )

    _, stale = play(back, withdrawn, world=a_world(OVER))
    _, in_order = play(withdrawn, back, world=a_world(OVER))

    assert stale == in_order


def test_a_stale_withdrawal_that_was_superseded_does_nothing_when_sent_again():
    withdrawn = {"by": CallerKind.STAFF, "at": STALE, "is_active": False, "mode": "verified"}
    requests = [
        a_request(by=CallerKind.STAFF, intake=1),
        a_request(intake=2, **withdrawn),
        a_request(by=CallerKind.STAFF, intake=3, at=minute(5), is_active=False),
        a_request(intake=4, **withdrawn),
    ]

    codes, state = play(*requests, world=a_world(OVER))

    assert codes == [Code.ENROLLED, Code.SUPERSEDED, Code.DEACTIVATED, Code.SUPERSEDED]
    assert state.mode == "audit"


def test_a_stale_withdrawal_of_who_is_out_names_even_an_expired_mode():
    codes, state = play(
        a_request(by=CallerKind.STAFF, intake=1, is_active=False),
        a_request(by=CallerKind.STAFF, intake=2, is_active=False, mode="verified", at=STALE),
        world=a_world(OVER),
    )

    assert codes == [Code.DEACTIVATED, Code.MODE_CHANGED]
    assert (state.mode, state.is_active) == ("verified", False)


@pytest.mark.parametrize(
    ("change", "precedences"),
    [
        pytest.param({}, (NOON, None), id="a-default-is-no-wish"),
        pytest.param({"mode": "audit"}, (NOON, NOON), id="a-named-mode-is"),
    ],
)
def test_a_new_record_keeps_the_rank_of_what_was_named(change, precedences):
    (record,) = decide_batch([a_request(**change)], a_world()).enrollments.values()

    activity, mode = record.activity_precedence, record.mode_precedence
    ranks = [
        None if at is None else precedence_of(at, stated=True, intake=1, line=1)
        for at in precedences
    ]
    assert [activity, mode] == ranks


def test_what_is_true_already_is_confirmed_with_the_rank_of_the_wish():
    world = a_world(ada=an_enrollment("audit"))
    request = a_request(mode="audit")

    decision = decide_batch([request], world)

    (record,) = decision.enrollments.values()
    assert decision.changes == []
    assert (record.activity_precedence, record.mode_precedence) == (
        request.precedence,
        request.precedence,
    )
