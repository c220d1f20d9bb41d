"""4m: bulk_enroll. A number is that of the conformance table."""

from itertools import pairwise

import pytest

from tests.support.openedx_client import (
    active,
    as_learner,
    email_of,
    inactive,
    ok,
)

COHORTS = {"cohorts": ["red", "blue"]}


@pytest.mark.parametrize(
    "as_list", [pytest.param(False, id="179-text"), pytest.param(True, id="179-list")]
)
def test_courses_are_a_text_or_a_list_of_one(form, as_list):
    course, user = form.course("audit"), form.learner()
    courses = [course] if as_list and form.media == "json" else course
    (result,) = form.results(course, courses=courses, identifiers=user)
    assert result["after"]["enrollment"] is True


def test_180_a_learner_is_refused(form):
    asked = {"action": "enroll", "courses": form.course(), "identifiers": form.learner()}
    assert form.bulk(as_learner(form.learner()), **asked).status_code == 403


def test_181_without_anything_it_is_400_that_names_what_is_missing(form):
    refused = form.bulk(form.staff())
    assert refused.status_code == 400
    assert set(refused.json()) >= {"action", "courses", "identifiers"}


def test_182_an_unknown_action_is_400(form):
    asked = {"action": "x", "courses": form.course(), "identifiers": "a@example.com"}
    refused = form.bulk(form.staff(), **asked)
    assert refused.status_code == 400
    assert refused.json()["action"] == ['"x" is not a valid choice.']


@pytest.mark.parametrize(
    "identifier",
    [pytest.param("broken@", id="183"), pytest.param("a_made_up_username", id="184")],
)
def test_who_cannot_be_found_is_invalid_and_the_rest_is_enrolled(form, identifier):
    course, user = form.course("audit"), form.learner()
    broken, fine = form.results(course, identifiers=f"{identifier},{user}")
    assert broken == {"identifier": identifier, "invalidIdentifier": True}
    assert fine["after"]["enrollment"] is True


@pytest.mark.parametrize(
    "by_email", [pytest.param(False, id="185"), pytest.param(True, id="186-187")]
)
def test_a_learner_is_enrolled(form, by_email):
    course, user = form.course("audit"), form.learner()
    identifier = email_of(user) if by_email else user
    (result,) = form.results(course, identifiers=identifier, email_students=False)
    assert result["identifier"] == identifier
    assert result["before"] | {"enrollment": False} == result["before"]
    expected = {"enrollment": True, "user": True, "allowed": False, "auto_enroll": False}
    assert result["after"] | expected == result["after"]
    assert form.state(course, user) == active("audit")
    (event,) = form.events(course, user)
    assert event["data"]["before"] is None


@pytest.mark.parametrize("by_email", [pytest.param(False, id="188"), pytest.param(True, id="189")])
def test_a_learner_is_unenrolled(form, by_email):
    course, user = form.course("audit"), form.learner()
    form.enrolled(course, user)
    identifier = email_of(user) if by_email else user
    (result,) = form.results(course, action="unenroll", identifiers=identifier)
    assert (result["before"]["enrollment"], result["after"]["enrollment"]) == (True, False)
    assert form.state(course, user) == inactive("audit")
    created, ended = form.events(course, user)
    assert ended["data"]["before"] == created["data"]["after"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param(
            {"cohorts": "red,blue"},
            "If provided, the cohorts and courses should have equal number of items.",
            id="190",
        ),
        pytest.param({"cohorts": "green"}, "cohort green not found in course ", id="191"),
        pytest.param(
            {"cohorts": "red", "action": "unenroll"},
            "Cohorts can only be used for enrollments.",
            id="192",
        ),
    ],
)
def test_cohorts_that_cannot_be_are_400(form, members, message):
    course, user = form.course("audit", **COHORTS), form.learner()
    asked = {"action": "enroll", "courses": course, "identifiers": user, **members}
    refused = form.bulk(form.staff(), **asked)
    assert refused.status_code == 400
    (said,) = refused.json()["non_field_errors"]
    assert said.startswith(message)
    assert form.state(course, user) is None


@pytest.mark.parametrize(
    "cohorts",
    [
        pytest.param([None, "red"], id="193"),
        pytest.param([None, "red", "blue"], id="194"),
        pytest.param([None, "red", "red"], id="195"),
    ],
)
def test_results_name_the_cohort_before_and_after(form, cohorts):
    course, user = form.course("audit", **COHORTS), form.learner()
    for before, after in pairwise(cohorts):
        (result,) = form.results(course, identifiers=user, cohorts=after)
        assert (result["before"]["cohort"], result["after"]["cohort"]) == (before, after)
        assert form.stored(course, user)["cohort"] == after


def test_185_more_than_one_course_is_served(form):
    user, courses = form.learner(), [form.course("audit"), form.course("audit")]
    asked = {"action": "enroll", "courses": ",".join(courses), "identifiers": user}
    shown = ok(form.bulk(form.staff(), **asked))
    assert list(shown["courses"]) == courses
    assert {form.state(course, user) for course in courses} == {active("audit")}
