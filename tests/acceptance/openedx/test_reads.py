"""4f: one enrollment, a course, a learner's list. A number is that of the conformance table."""

import pytest

from tests.support.openedx_client import (
    ANONYMOUS,
    KEY,
    OpenEdxClient,
    as_learner,
    expired,
    ok,
)

SET = "2015-01-02T03:04:05Z"
STARTED, ENDS = "2014-01-02T03:04:05Z", "2114-01-02T03:04:05Z"


def enrolled_self(client: OpenEdxClient, **members: object) -> tuple[str, str]:
    course, user = client.course("audit", **members), client.learner()
    ok(client.enroll(as_learner(user), course))
    return course, user


def test_068_a_learner_reads_their_enrollment(edx):
    course, user = enrolled_self(edx, course_name="Algebra")
    shown = ok(edx.get(f"/enrollment/{user},{course}", as_learner(user)))
    assert (shown["user"], shown["mode"], shown["is_active"]) == (user, "audit", True)
    details = shown["course_details"]
    assert (details["course_id"], details["course_name"]) == (course, "Algebra")


def test_069_without_a_username_it_is_ones_own(edx):
    course, user = enrolled_self(edx)
    shown = ok(edx.get(f"/enrollment/{course}", as_learner(user)))
    assert (shown["user"], shown["course_details"]["course_id"]) == (user, course)


def test_070_of_somebody_else_it_is_404(edx):
    course, user = enrolled_self(edx)
    refused = edx.get(f"/enrollment/{user},{course}", as_learner(edx.learner()))
    assert (refused.status_code, refused.content) == (404, b"")


def test_071_the_key_reads_of_somebody_who_is_not_enrolled(edx):
    answer = edx.get(f"/enrollment/{edx.learner()},{edx.course()}", KEY)
    assert (answer.status_code, answer.content) == (200, b"")
    assert "content-type" not in answer.headers


def test_072_global_staff_read_of_everybody(edx):
    course, user = enrolled_self(edx)
    assert ok(edx.get(f"/enrollment/{user},{course}", edx.staff()))["user"] == user


def test_074_everybody_reads_a_course_and_its_modes(edx):
    honor = {"slug": "honor", "name": "Honor Code", "sku": "H-1", "bulk_sku": "B-H-1"}
    course = edx.course(honor, course_name="Algebra")
    shown = ok(edx.get(f"/course/{course}", ANONYMOUS))
    (mode,) = shown["course_modes"]
    assert (shown["course_id"], shown["course_name"]) == (course, "Algebra")
    assert {name: mode[name] for name in honor} == honor


def test_075_credit_is_listed_among_the_modes(edx):
    shown = ok(edx.get(f"/course/{edx.course('credit')}", ANONYMOUS))
    assert [mode["slug"] for mode in shown["course_modes"]] == ["credit"]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param(None, None, id="076"),
        pytest.param(SET, None, id="077"),
        pytest.param(None, SET, id="078"),
        pytest.param(SET, SET, id="079"),
    ],
)
def test_dates_are_shown_in_details_enrollment_and_list(edx, start, end):
    window = {
        "enrollment_start": start and STARTED,
        "enrollment_end": end and ENDS,
        "course_start": start,
        "course_end": end,
    }
    course, user = enrolled_self(edx, **window)
    one = ok(edx.get(f"/enrollment/{user},{course}", KEY))
    (listed,) = ok(edx.get("/enrollment", KEY, user=user))
    details = ok(edx.get(f"/course/{course}", ANONYMOUS))
    for shown in (details, one["course_details"], listed["course_details"]):
        assert {name: shown[name] for name in window} == window


def test_080_an_unknown_course_is_400(edx):
    refused = edx.get("/course/some/fake/course", ANONYMOUS)
    assert refused.status_code == 400
    message = "No course found for course ID 'some/fake/course'"
    assert refused.json()["message"] == message


@pytest.mark.parametrize(
    ("asked", "slugs"),
    [
        pytest.param({"include_expired": "True"}, ["honor", "verified"], id="081"),
        pytest.param({}, ["honor"], id="082"),
    ],
)
def test_expired_modes_are_listed_if_asked_for(edx, asked, slugs):
    course = edx.course("honor", expired("verified"))
    shown = ok(edx.get(f"/course/{course}", ANONYMOUS, **asked))
    assert sorted(mode["slug"] for mode in shown["course_modes"]) == slugs


def two_enrollments(client: OpenEdxClient) -> tuple[str, list[str]]:
    user, courses = client.learner(), [client.course(course_name=name) for name in "AB"]
    for course in courses:
        client.enrolled(course, user)
    return user, courses


def listed(client: OpenEdxClient, caller: object, **params: object) -> list[tuple[str, str]]:
    found = ok(client.get("/enrollment", caller, **params))
    details = [one["course_details"] for one in found]
    return [(course["course_id"], course["course_name"]) for course in details]


def test_083_a_learner_lists_both_enrollments(edx):
    user, (one, two) = two_enrollments(edx)
    assert listed(edx, as_learner(user)) == [(one, "A"), (two, "B")]
    assert listed(edx, as_learner(user), user=user) == [(one, "A"), (two, "B")]


def test_084_of_somebody_else_a_learner_lists_none(edx):
    user, _ = two_enrollments(edx)
    assert listed(edx, as_learner(edx.learner()), user=user) == []


def test_085_staff_of_one_course_list_that_one(edx):
    (user, (one, _)), teacher = two_enrollments(edx), edx.learner()
    edx.give_role(one, teacher)
    assert listed(edx, as_learner(teacher), user=user) == [(one, "A")]


def test_086_global_staff_list_both(edx):
    user, (one, two) = two_enrollments(edx)
    assert listed(edx, edx.staff(), user=user) == [(one, "A"), (two, "B")]


def test_087_the_key_lists_both(edx):
    user, (one, two) = two_enrollments(edx)
    assert listed(edx, KEY, user=user) == [(one, "A"), (two, "B")]
