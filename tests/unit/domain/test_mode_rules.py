"""Rules about modes, attributes and cohorts."""

import pytest

from enrollment.domain.codes import CallerKind, Reason
from enrollment.domain.model import Attribute, Mode
from enrollment.domain.rules import (
    current_or_default_mode,
    default_mode,
    refuse_attributes,
    refuse_cohort,
    refuse_mode,
)
from tests.unit.domain.builders import (
    MOMENT,
    NOON,
    PROVIDER,
    a_course,
    a_request,
    an_enrollment,
    minute,
    reason_of,
    some_modes,
)

PAST, FUTURE = NOON - MOMENT, minute(1)


@pytest.mark.parametrize(
    ("modes", "site", "mode"),
    [
        pytest.param(
            some_modes("audit", "verified", "credit"), "audit", "audit", id="site-is-audit"
        ),
        pytest.param(
            some_modes("verified", "honor", "audit"), "honor", "honor", id="site-is-honor"
        ),
        pytest.param(some_modes("honor", "audit"), "basic", "audit", id="audit-before-honor"),
        pytest.param(some_modes("verified", "honor"), "audit", "honor", id="honor-is-left"),
        pytest.param(some_modes("professional"), "audit", None, id="professional"),
        pytest.param(some_modes("verified"), "audit", None, id="verified"),
        pytest.param(some_modes("verified", "professional"), "audit", None, id="both-paid"),
        pytest.param(some_modes("credit"), "credit", None, id="credit-is-never-a-default"),
        pytest.param((), "audit", "audit", id="no-modes"),
        pytest.param(some_modes("honor", audit=PAST), "audit", "honor", id="audit-is-over"),
        pytest.param(some_modes("honor", audit=NOON), "audit", "audit", id="audit-ends-now"),
        pytest.param(some_modes(verified=PAST), "honor", "audit", id="all-are-over"),
    ],
)
def test_who_names_no_mode_gets_the_default(modes, site, mode):
    assert default_mode(a_course(modes=modes), NOON, site) == mode


@pytest.mark.parametrize(
    ("slug", "modes", "reason"),
    [
        pytest.param("verified", some_modes("verified"), None, id="offered"),
        pytest.param("verified", some_modes(verified=NOON), None, id="at-its-deadline"),
        pytest.param("verified", some_modes(verified=FUTURE), None, id="before-its-deadline"),
        pytest.param("verified", some_modes(verified=PAST), Reason.MODE_EXPIRED, id="expired"),
        pytest.param("verified", some_modes("audit"), Reason.MODE_UNAVAILABLE, id="not-offered"),
        pytest.param(None, some_modes("audit"), Reason.MODE_UNAVAILABLE, id="none"),
        pytest.param("audit", (), None, id="audit-where-none-are-listed"),
        pytest.param("honor", (), Reason.MODE_UNAVAILABLE, id="honor-where-none-are-listed"),
        pytest.param("audit", some_modes(verified=PAST), None, id="audit-where-all-are-over"),
    ],
)
def test_a_mode_is_the_courses_own_and_before_its_deadline(slug, modes, reason):
    refusal = refuse_mode(a_request(), a_course(modes=modes), slug, lenient=False)

    assert reason_of(refusal) is reason


def test_leniency_passes_a_deadline_but_makes_up_no_mode():
    course = a_course(modes=some_modes("audit", verified=PAST))

    assert refuse_mode(a_request(), course, "verified", lenient=True) is None
    unknown = refuse_mode(a_request(), course, "honor", lenient=True)
    assert unknown.reason is Reason.MODE_UNAVAILABLE


def test_an_expired_mode_says_since_when():
    refusal = refuse_mode(
        a_request(), a_course(modes=some_modes(verified=minute(-1))), "verified", lenient=False
    )

    assert refusal.details == {
        "requested_mode": "verified",
        "expired_at": "2026-03-02T11:59:00Z",
        "offered": ["audit"],
    }


@pytest.mark.parametrize(
    ("was", "by", "mode"),
    [
        pytest.param(None, CallerKind.ADMIN, "audit", id="was-never-here"),
        pytest.param("verified", CallerKind.STAFF, "verified", id="still-offered"),
        pytest.param("honor", CallerKind.STAFF, "audit", id="expired"),
        pytest.param("honor", CallerKind.SERVER, "honor", id="expired-and-may-be-used"),
        pytest.param("masters", CallerKind.SERVER, "audit", id="no-longer-offered"),
    ],
)
def test_who_comes_back_keeps_the_mode_if_it_can_still_be_had(was, by, mode):
    course = a_course(modes=some_modes("audit", "verified", honor=PAST))
    current = None if was is None else an_enrollment(was, is_active=False)

    assert current_or_default_mode(a_request(by=by), course, current, "audit") == mode


@pytest.mark.parametrize(
    ("mode", "attributes", "reason"),
    [
        pytest.param("credit", PROVIDER, None, id="credit-from-somebody"),
        pytest.param("credit", (), Reason.ATTRIBUTES_MISSING, id="credit-from-nobody"),
        pytest.param(
            "credit",
            (Attribute("credit", "invalid", "hogwarts"),),
            Reason.ATTRIBUTES_MISSING,
            id="other-name",
        ),
        pytest.param(
            "credit",
            (Attribute("order", "provider_id", "hogwarts"),),
            Reason.ATTRIBUTES_MISSING,
            id="other-namespace",
        ),
        pytest.param("verified", (), None, id="other-modes-need-none"),
    ],
)
def test_credit_needs_its_provider(mode, attributes, reason):
    after = an_enrollment(mode, attributes=attributes)
    assert reason_of(refuse_attributes(an_enrollment("audit"), None, after)) is reason
    assert reason_of(refuse_attributes(None, attributes, after)) is (reason if attributes else None)
    assert refuse_attributes(an_enrollment("credit"), None, after) is None


@pytest.mark.parametrize(
    ("cohort", "reason"),
    [
        pytest.param(None, None, id="none-wished"),
        pytest.param("red", None, id="known"),
        pytest.param("blue", Reason.COHORT_NOT_FOUND, id="unknown"),
    ],
)
def test_a_cohort_is_one_of_the_courses_own(cohort, reason):
    assert reason_of(refuse_cohort(a_course(cohorts=("red",)), cohort)) is reason


def test_a_mode_can_be_taken_up_to_and_including_its_deadline():
    assert Mode(slug="verified", expires_at=NOON).is_open(NOON)
    assert not Mode(slug="verified", expires_at=NOON).is_open(NOON + MOMENT)
