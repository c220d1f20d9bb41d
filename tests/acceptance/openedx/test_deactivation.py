"""4d: deactivation by the key, for each set of modes. A number is that of the conformance table."""

import pytest

from tests.support.openedx_client import (
    KEY,
    OpenEdxClient,
    active,
    expired,
    inactive,
    ok,
)

#: The modes of a course, and the one that the learner has.
COURSES = [
    (["audit"], "audit"),
    (["audit", "verified"], "audit"),
    (["audit", "verified"], "verified"),
    (["professional"], "professional"),
    (["no-id-professional"], "no-id-professional"),
    (["verified", "credit"], "verified"),
    (["verified", "credit"], "credit"),
]
EACH = pytest.mark.parametrize(
    ("modes", "mode"), COURSES, ids=["+".join(m) + ":" + mode for m, mode in COURSES]
)


def enrolled(client: OpenEdxClient, modes: list[str], mode: str) -> tuple[str, str]:
    course, user = client.course(*modes), client.learner()
    client.enrolled(course, user, mode=mode)
    return course, user


@EACH
def test_043_the_key_enrolls_in_each_mode(form, modes, mode):
    course, user = enrolled(form, modes, mode)
    assert form.state(course, user) == active(mode)


@EACH
def test_044_an_activity_that_is_no_boolean_is_400(form, modes, mode):
    course, user = enrolled(form, modes, mode)
    refused = form.enroll(KEY, course, user=user, mode=None, is_active="foo")
    assert refused.status_code == 400
    assert refused.json()["message"] == "'foo' is an invalid enrollment activation status."
    assert form.state(course, user) == active(mode)


@EACH
def test_045_the_key_deactivates_and_the_mode_stays(form, modes, mode):
    course, user = enrolled(form, modes, mode)
    shown = form.enrolled(course, user, mode=mode, is_active=False)
    assert (shown["mode"], shown["is_active"]) == (mode, False)
    assert form.state(course, user) == inactive(mode)


@EACH
def test_046_deactivating_again_changes_nothing(form, modes, mode):
    course, user = enrolled(form, modes, mode)
    first = form.enrolled(course, user, mode=mode, is_active=False)
    assert form.enrolled(course, user, mode=mode, is_active=False) == first
    assert len(form.events(course, user)) == 2


OFFERED = [pytest.param(*case, id="047-" + ":".join(case[0])) for case in COURSES[:3]]
NOT_OFFERED = [pytest.param(*case, id="048-" + case[1]) for case in COURSES[3:]]


@pytest.mark.parametrize(("modes", "mode"), OFFERED)
def test_the_default_mode_may_be_named_where_it_is_offered(form, modes, mode):
    course, user = enrolled(form, modes, mode)
    form.enrolled(course, user, mode=mode, is_active=False)
    shown = form.enrolled(course, user, mode="audit", is_active=False)
    assert (shown["mode"], shown["is_active"]) == ("audit", False)


@pytest.mark.parametrize(("modes", "mode"), NOT_OFFERED)
def test_the_default_mode_is_400_where_it_is_not_offered(form, modes, mode):
    course, user = enrolled(form, modes, mode)
    form.enrolled(course, user, mode=mode, is_active=False)
    refused = form.enroll(KEY, course, user=user, mode="audit", is_active=False)
    assert refused.status_code == 400
    assert form.state(course, user) == inactive(mode)


def test_049_global_staff_deactivate_others_and_the_mode_stays(form):
    course, user = enrolled(form, ["audit", "verified"], "verified")
    asked = {"user": user, "mode": "verified", "is_active": False}
    assert ok(form.enroll(form.staff(), course, **asked))["is_active"] is False
    assert form.state(course, user) == inactive("verified")


def test_050_an_enrollment_in_an_expired_mode_is_deactivated(form):
    course, user = enrolled(form, ["audit", "verified"], "verified")
    form.course("audit", expired("verified"), course_id=course)
    form.enrolled(course, user, mode="verified", is_active=False)
    assert form.state(course, user) == inactive("verified")
