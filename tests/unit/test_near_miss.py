"""Names that look like ones that are read: misspelt members, and words for activity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.requests.near_miss import (
    ACTIVITY_WORDS,
    REQUEST_MEMBERS,
    nearest_id,
    similar_member,
    unknown_members,
)
from schemas.requests.schema import RequestSchema
from schemas.result_file import NATIVE_HEADER


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("mod", "mode"),
        ("modes", "mode"),
        ("Mode ", "mode"),
        ("moed", "mode"),
        ("usr", "user"),
        ("emial", "email"),
        ("e-mail", "email"),
        ("mail", "email"),
        ("courseid", "course_id"),
        ("Course ID", "course_id"),
        ("is_actve", "is_active"),
        ("inactive", "is_active"),
        ("isActive", "is_active"),
        ("cohrt", "cohort"),
        ("requested at", "requested_at"),
        ("reqested_a", "requested_at"),
        ("force_enrolment", "force_enrollment"),
        ("enrolment_attribute", "enrollment_attributes"),
        *[(word, "is_active") for word in sorted(ACTIVITY_WORDS)],
        ("STATUS", "is_active"),
    ],
)
def test_a_misspelt_member_is_seen(name, member):
    assert similar_member(name) == member


@pytest.mark.parametrize(
    "name",
    [
        "", "?", "code", "role", "name", "node", "note", "course", "course_name", "user_id", "email2",
        "username", "user_name", "full name", "first_name", "country", "section", "term", "group",
        "student_no", "cohort_name", "comment", "date", "start_date", "email_opt_in", "outcome",
        "reason", "message", "linked_enterprise_customer", "enterprise_uuid", "x" * 100_000,
    ],
)  # fmt: skip
def test_other_names_are_not(name):
    assert similar_member(name) is None


@pytest.mark.parametrize("name", sorted({*REQUEST_MEMBERS, *NATIVE_HEADER}))
def test_what_is_read_or_written_here_looks_like_nothing_else(name):
    assert similar_member(name) is None


def test_the_members_are_those_of_the_schema():
    assert set(RequestSchema().fields) == REQUEST_MEMBERS


def test_members_are_named_with_the_nearest_one_unless_they_may_pass():
    body = {"user": "ada", "mod": "audit", "STATUS": "x", "note": 1}

    assert [(f["field"], f["value"], f["rule"], f["expected"]) for f in unknown_members(body)] == [
        ("STATUS", "x", "unknown_member", "is_active"),
        ("mod", "audit", "unknown_member", "mode"),
    ]
    assert [f["field"] for f in unknown_members(body, {"status"})] == ["mod"]


@given(st.sampled_from(sorted(REQUEST_MEMBERS)), st.data())
def test_a_letter_left_out_or_doubled_is_a_near_miss(member, data):
    place = data.draw(st.integers(0, len(member) - 1))
    for other in (
        member[:place] + member[place + 1 :],
        member[:place] + member[place] + member[place:],
    ):
        assert other in REQUEST_MEMBERS or similar_member(other) is not None


COURSES = ["course-v1:DemoX+ALG+2026", "course-v1:DemoX+ALG+2027", "course-v1:DemoX+GEO+2026"]


@pytest.mark.parametrize(
    ("course_id", "near"),
    [
        ("course-v1:DemoX+ALG+2062", COURSES[0]),
        ("course-v1:DemoX+ALG+20267", COURSES[0]),
        ("course-v1:DemoX+AGL+2027", COURSES[1]),
        ("course-v1:demox+geo+2026", COURSES[2]),
        ("course-v1:DemoX+GE+2026", COURSES[2]),
        ("course-v1:DemoX+XYZ+2026", None),
        ("", None),
    ],
)
def test_the_nearest_id_is_at_most_two_edits_away(course_id, near):
    assert nearest_id(course_id, COURSES) == near
    assert nearest_id(course_id, []) is None


@given(st.text("ab+2", max_size=12), st.lists(st.text("ab+2", max_size=12), max_size=5))
def test_a_known_id_is_its_own_nearest(text, others):
    assert nearest_id(text, [*others, text]).casefold() == text.casefold()
