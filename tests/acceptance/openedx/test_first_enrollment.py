"""4a: who enrolls whom by POST /enrollment. A number is that of docs/openedx-conformance.md."""

import pytest

from tests.support.openedx_client import (
    ANONYMOUS,
    KEY,
    active,
    as_learner,
    email_of,
    ok,
)


@pytest.mark.parametrize(
    "modes",
    [
        pytest.param([], id="001"),
        pytest.param(["verified", "audit"], id="002-two"),
        pytest.param(["verified", "audit", "honor"], id="002-three"),
    ],
)
def test_a_learner_enrolls_in_the_default_mode(form, modes):
    course, user = form.course(*modes), form.learner()
    shown = ok(form.enroll(as_learner(user), course, user=user, mode="audit"))
    assert (shown["mode"], shown["is_active"]) == ("audit", True)
    assert form.state(course, user) == active("audit")


def test_003_the_answer_has_the_name_of_the_course(form):
    course, user = form.course(course_name="Algebra & mehr"), form.learner()
    shown = ok(form.enroll(as_learner(user), course))
    assert shown["course_details"]["course_name"] == "Algebra & mehr"


def test_004_the_answer_has_the_id_that_was_sent(form):
    course, user = form.course(), form.learner()
    shown = ok(form.enroll(as_learner(user), course))
    assert shown["course_details"]["course_id"] == course


def test_005_global_staff_enroll_by_address_alone(form):
    course, user = form.course(), form.learner()
    shown = ok(form.enroll(form.staff(), course, email=email_of(user)))
    assert shown["user"] == user


def test_006_the_key_enrolls_by_address_alone(form):
    course, user = form.course(), form.learner()
    assert ok(form.enroll(KEY, course, email=email_of(user)))["user"] == user


def test_007_a_learner_cannot_name_the_address_of_somebody_else(form):
    course, user, other = form.course(), form.learner(), form.learner()
    refused = form.enroll(as_learner(user), course, email=email_of(other))
    assert (refused.status_code, refused.content) == (404, b"")
    assert form.state(course, other) is None


def test_008_the_username_wins_over_the_address(form):
    course, user, other = form.course(), form.learner(), form.learner()
    shown = ok(form.enroll(as_learner(user), course, user=user, email=email_of(other)))
    assert shown["user"] == user
    assert form.state(course, other) is None


def test_009_the_username_of_somebody_else_wins_over_ones_own_address(form):
    course, user, other = form.course(), form.learner(), form.learner()
    refused = form.enroll(as_learner(user), course, user=other, email=email_of(user))
    assert (refused.status_code, refused.content) == (404, b"")
    assert form.state(course, user) is form.state(course, other) is None


def test_010_a_learner_may_name_themselves(form):
    course, user = form.course(), form.learner()
    assert ok(form.enroll(as_learner(user), course, user=user))["user"] == user


@pytest.mark.parametrize("members", [{}, {"user": ""}], ids=["absent", "empty"])
def test_011_who_names_nobody_is_enrolled_themselves(form, members):
    course, user = form.course(), form.learner()
    assert ok(form.enroll(as_learner(user), course, **members))["user"] == user


def test_012_without_credentials_it_is_401(form):
    refused = form.enroll(ANONYMOUS, form.course(), user=form.learner())
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"]
    assert refused.json()["detail"] == "Authentication credentials were not provided."


def test_013_a_learner_who_is_not_activated_may_enroll(form):
    course, user = form.course(), form.learner(is_active=False)
    assert ok(form.enroll(as_learner(user), course))["is_active"] is True


def test_014_only_the_key_enrolls_somebody_else(form):
    course, user, other = form.course(), form.learner(), form.learner()
    refused = form.enroll(as_learner(user), course, user=other)
    assert (refused.status_code, refused.content) == (404, b"")
    assert form.state(course, other) is None
    assert ok(form.enroll(KEY, course, user=other))["user"] == other


def test_015_an_unknown_learner_is_404_to_a_learner_and_406_to_the_key(form):
    course, user, unknown = form.course(), form.learner(), f"nobody{form.word}"
    assert form.enroll(as_learner(user), course, user=unknown).status_code == 404
    refused = form.enroll(KEY, course, user=unknown)
    assert refused.status_code == 406
    assert refused.json()["message"] == f"The user {unknown} does not exist."


def test_016_an_unknown_course_is_400(form):
    refused = form.enroll(as_learner(form.learner()), "entirely/fake/course")
    assert refused.status_code == 400
    assert refused.json()["message"] == "No course 'entirely/fake/course' found for enrollment"


def test_017_an_id_that_is_none_is_400(form):
    refused = form.enroll(as_learner(form.learner()), "invalidcourse")
    assert refused.status_code == 400
    assert "No course " in refused.json()["message"]


def test_018_the_same_request_again_has_the_same_answer(form):
    course, user = form.course("audit", "verified"), form.learner()
    first = ok(form.enroll(as_learner(user), course, user=user))
    assert ok(form.enroll(as_learner(user), course, user=user)) == first
    assert len(form.events(course, user)) == 1


def test_019_a_mode_that_is_not_offered_is_400_with_the_course(form):
    course, user = form.course("professional"), form.learner()
    refused = form.enroll(as_learner(user), course, mode="audit")
    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/json"
    details = refused.json()["course_details"]
    assert details["course_id"] == course
    assert [mode["slug"] for mode in details["course_modes"]] == ["professional"]
    assert "course mode is expired or otherwise unavailable" in refused.json()["message"]
    assert form.state(course, user) is None


@pytest.mark.parametrize(
    ("members", "kept"),
    [
        pytest.param({"email_opt_in": True}, True, id="020"),
        pytest.param({"email_opt_in": False}, False, id="021"),
        pytest.param({}, None, id="022"),
    ],
)
def test_an_opt_in_is_kept_for_the_organisation_of_the_course(form, members, kept):
    org, user = f"Org{form.word}", form.learner()
    ok(form.enroll(as_learner(user), form.course(org=org), **members))
    assert form.opt_ins(user).get(org) is kept


def test_023_the_learner_is_put_into_a_cohort_of_the_course(form):
    course, user = form.course(cohorts=["red", "blue"]), form.learner()
    form.enrolled(course, user, cohort="red")
    assert form.stored(course, user)["cohort"] == "red"


def test_024_an_unknown_cohort_is_400_and_nobody_is_enrolled(form):
    course, user = form.course(cohorts=["red"]), form.learner()
    refused = form.enroll(KEY, course, user=user, cohort="green")
    assert refused.status_code == 400
    assert refused.json()["message"] == "An error occured while adding to cohort [green]"
    assert form.state(course, user) is None


def test_025_a_change_by_the_key_is_recorded_with_the_key(form):
    course, user = form.course(), form.learner()
    form.enrolled(course, user)
    (event,) = form.events(course, user)
    assert event["data"]["caller"] == "edx"
    assert event["data"]["submission_id"]
