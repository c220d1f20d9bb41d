"""For one enrollment the latest wish wins, whatever order wishes are worked in."""

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
    minute,
    some_modes,
    standings,
    told,
)

ORDER = (Attribute("order", "number", "1"),)


def play(*asked, world=None):
    """Outcomes of requests worked one after the other, and how ada then stands."""
    world = world or a_world()
    judgement = decide_batch(asked, world)
    (standing,) = standings(after(world, judgement)).values()
    return [outcome.code for outcome in judgement.outcomes], standing


def test_an_older_wish_that_comes_later_is_superseded():
    codes, standing = play(
        a_request(asked=minute(2), is_active=False, intake=1),
        a_request(asked=minute(1), is_active=True, intake=2),
    )

    assert codes == [Code.DEACTIVATED, Code.SUPERSEDED]
    assert not standing.is_active


def test_an_older_wish_still_settles_a_mode_that_was_only_a_default():
    codes, standing = play(
        a_request(asked=minute(2), intake=1),
        a_request(asked=minute(1), mode="verified", intake=2),
    )

    assert codes == [Code.ENROLLED, Code.MODE_CHANGED]
    assert (standing.mode, standing.is_active) == ("verified", True)


def test_an_older_wish_still_settles_the_mode_of_who_withdrew_and_brings_nobody_back():
    codes, standing = play(
        a_request(asked=minute(2), is_active=False, intake=1),
        a_request(asked=minute(1), mode="verified", intake=2),
    )

    assert codes == [Code.DEACTIVATED, Code.MODE_CHANGED]
    assert (standing.mode, standing.is_active) == ("verified", False)


def test_a_stated_mode_that_is_older_than_a_stated_one_is_dropped():
    codes, standing = play(
        a_request(asked=minute(2), mode="audit", intake=1),
        a_request(asked=minute(1), mode="verified", is_active=False, intake=2),
    )

    assert codes == [Code.ENROLLED, Code.SUPERSEDED]
    assert (standing.mode, standing.is_active) == ("audit", True)


def test_confirming_counts_as_a_wish():
    codes, standing = play(
        a_request(asked=minute(1), intake=1),
        a_request(asked=minute(3), intake=2),
        a_request(asked=minute(2), is_active=False, intake=3),
    )

    assert codes == [Code.ENROLLED, Code.UNCHANGED, Code.SUPERSEDED]
    assert standing.is_active


def test_a_refused_wish_moves_no_clock():
    codes, standing = play(
        a_request(asked=minute(1), intake=1),
        a_request(asked=minute(3), mode="honor", intake=2),
        a_request(asked=minute(2), is_active=False, intake=3),
    )

    assert codes == [Code.ENROLLED, Code.REFUSED, Code.DEACTIVATED]
    assert not standing.is_active


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
    asked = [a_request(mode="audit", **first), a_request(mode="verified", **second)]

    _, standing = play(*(reversed(asked) if swapped else asked))

    assert standing.mode == ("audit" if winner == "first" else "verified")


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
        pytest.param({"asked": minute(-1)}, Code.SUPERSEDED, id="earlier"),
    ],
)
def test_a_wish_that_only_ties_and_asks_for_nothing_new_is_unchanged(again, code):
    world = a_world(a_course(cohorts=("red", "blue")))
    first = a_request(mode="verified", attributes=ORDER, cohort="red", intake=1)
    world = after(world, decide_batch([first], world))

    judgement = decide_batch([a_request(intake=2, **again)], world)

    assert told(judgement.outcomes[0]) == (code, None)
    assert (judgement.enrollments, judgement.changes) == ({}, [])


def test_attributes_and_cohort_go_with_the_mode_they_were_named_with():
    world = a_world(a_course(cohorts=("red",)))

    codes, standing = play(
        a_request(asked=minute(2), mode="audit", intake=1),
        a_request(asked=minute(1), mode="verified", attributes=ORDER, cohort="red", intake=2),
        world=world,
    )

    assert codes == [Code.ENROLLED, Code.SUPERSEDED]
    assert (standing.attributes, standing.cohort) == ((), None)


def test_older_attributes_that_come_without_a_mode_are_superseded_by_newer_ones():
    codes, standing = play(
        a_request(asked=minute(2), attributes=PROVIDER, intake=1),
        a_request(asked=minute(1), attributes=ORDER, intake=2),
    )

    assert codes == [Code.ENROLLED, Code.SUPERSEDED]
    assert standing.attributes == PROVIDER


def test_a_mode_that_was_only_kept_is_no_wish():
    codes, standing = play(
        a_request(asked=minute(1), mode="verified", intake=1),
        a_request(asked=minute(3), intake=2),
        a_request(asked=minute(2), mode="audit", intake=3),
    )

    assert codes == [Code.ENROLLED, Code.UNCHANGED, Code.MODE_CHANGED]
    assert standing.mode == "audit"


def test_an_older_cohort_is_superseded_by_a_newer_one():
    codes, standing = play(
        a_request(asked=minute(1), cohort="red", intake=1),
        a_request(asked=minute(3), cohort="blue", intake=2),
        a_request(asked=minute(2), cohort="red", intake=3),
        world=a_world(a_course(cohorts=("red", "blue"))),
    )

    assert codes == [Code.ENROLLED, Code.UPDATED, Code.SUPERSEDED]
    assert standing.cohort == "blue"


STALE = minute(-30)
OVER = a_course(modes=some_modes("audit", verified=minute(-60)))


@pytest.mark.parametrize(
    ("mode", "attributes", "told_as"),
    [
        pytest.param("verified", None, (Code.SUPERSEDED, None), id="expired"),
        pytest.param("verified", ORDER, (Code.UPDATED, None), id="expired-with-attributes"),
        pytest.param("honor", None, (Code.REFUSED, Reason.MODE_UNAVAILABLE), id="never-offered"),
    ],
)
def test_a_stale_withdrawal_moves_nobody_into_an_expired_mode(mode, attributes, told_as):
    world = a_world(OVER)
    back = a_request(by=CallerKind.STAFF, intake=1)
    gone = a_request(
        by=CallerKind.STAFF,
        asked=STALE,
        intake=2,
        is_active=False,
        mode=mode,
        attributes=attributes,
    )
    world = after(world, decide_batch([back], world))

    outcome, standing = answer(gone, world)

    assert told(outcome) == told_as
    assert (standing.mode, standing.is_active) == ("audit", True)


def test_a_stale_withdrawal_ends_alike_before_and_after_the_coming_back():
    back = a_request(by=CallerKind.STAFF, intake=1)
    gone = a_request(
        by=CallerKind.STAFF,
        asked=STALE,
        intake=2,
        is_active=False,
        mode="verified",
        attributes=ORDER,
    )

    _, stale = play(back, gone, world=a_world(OVER))
    _, in_order = play(gone, back, world=a_world(OVER))

    assert stale == in_order


def test_a_stale_withdrawal_that_was_superseded_does_nothing_when_sent_again():
    gone = {"by": CallerKind.STAFF, "asked": STALE, "is_active": False, "mode": "verified"}
    asked = [
        a_request(by=CallerKind.STAFF, intake=1),
        a_request(intake=2, **gone),
        a_request(by=CallerKind.STAFF, intake=3, asked=minute(5), is_active=False),
        a_request(intake=4, **gone),
    ]

    codes, standing = play(*asked, world=a_world(OVER))

    assert codes == [Code.ENROLLED, Code.SUPERSEDED, Code.DEACTIVATED, Code.SUPERSEDED]
    assert standing.mode == "audit"


def test_a_stale_withdrawal_of_who_is_out_names_even_an_expired_mode():
    codes, standing = play(
        a_request(by=CallerKind.STAFF, intake=1, is_active=False),
        a_request(by=CallerKind.STAFF, intake=2, is_active=False, mode="verified", asked=STALE),
        world=a_world(OVER),
    )

    assert codes == [Code.DEACTIVATED, Code.MODE_CHANGED]
    assert (standing.mode, standing.is_active) == ("verified", False)


@pytest.mark.parametrize(
    ("wish", "clocks"),
    [
        pytest.param({}, (NOON, None), id="a-default-is-no-wish"),
        pytest.param({"mode": "audit"}, (NOON, NOON), id="a-named-mode-is"),
    ],
)
def test_a_new_record_keeps_the_rank_of_what_was_named(wish, clocks):
    (record,) = decide_batch([a_request(**wish)], a_world()).enrollments.values()

    activity, mode = record.activity_precedence, record.mode_precedence
    ranks = [
        None if at is None else precedence_of(at, stated=True, intake=1, line=1) for at in clocks
    ]
    assert [activity, mode] == ranks


def test_what_is_true_already_is_confirmed_with_the_rank_of_the_wish():
    world = a_world(ada=an_enrollment("audit"))
    request = a_request(mode="audit")

    judgement = decide_batch([request], world)

    (record,) = judgement.enrollments.values()
    assert judgement.changes == []
    assert (record.activity_precedence, record.mode_precedence) == (
        request.precedence,
        request.precedence,
    )
