"""Upstream's bulk enrollment as a shape: what is read, what is complained about."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.openedx_bulk_enroll import BulkEnroll, BulkEnrollErrors, load_bulk_enroll
from schemas.requests.parsed import InvalidRequest
from schemas.requests.schema import load_request

COURSE = "course-v1:Uni+ALG+2026"
OTHER = "Uni/BIO/2026"
BODY = {"action": "enroll", "identifiers": "ada", "courses": COURSE}
WHOLE = "non_field_errors"


def refusal(body):
    with pytest.raises(BulkEnrollErrors) as error:
        load_bulk_enroll(body)
    return error.value.messages


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ada", ("ada",)),
        ("ada,bob", ("ada", "bob")),
        ("ada bob\tcem\ndora\r\neva", ("ada", "bob", "cem", "dora", "eva")),
        (" , ada ,, ada , ", ("ada", "ada")),
    ],
)
def test_identifiers_are_parted_by_commas_blanks_and_line_ends(text, expected):
    assert load_bulk_enroll(BODY | {"identifiers": text}).identifiers == expected


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (COURSE, (COURSE,)),
        (f"{COURSE},{OTHER}", (COURSE, OTHER)),
        (f" {COURSE} , {OTHER},", (COURSE, OTHER)),
        ([COURSE], (COURSE,)),
        ([COURSE, OTHER], (COURSE, OTHER)),
        ([f"{COURSE},{OTHER}", COURSE], (COURSE, OTHER, COURSE)),
    ],
)
def test_courses_are_a_comma_list_or_a_list_of_such(given_, expected):
    assert load_bulk_enroll(BODY | {"courses": given_}).courses == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"action": None}, {"action": ["This field may not be null."]}),
        ({"action": "drop"}, {"action": ['"drop" is not a valid choice.']}),
        ({"action": ["enroll"]}, {"action": ["Not a valid string."]}),
        ({"identifiers": ["ada"]}, {"identifiers": ["Not a valid string."]}),
        ({"identifiers": " ,\n"}, {"identifiers": ["This field may not be blank."]}),
        ({"identifiers": "a\0"}, {"identifiers": ["Not a valid string."]}),
        ({"courses": ""}, {"courses": ["This field may not be blank."]}),
        ({"courses": []}, {"courses": ["Not a valid string."]}),
        ({"courses": [1]}, {"courses": ["Not a valid string."]}),
        ({"courses": f"{COURSE},no"}, {"courses": ["Course key not valid: no"]}),
        ({"auto_enroll": "perhaps"}, {"auto_enroll": ["Must be a valid boolean."]}),
        ({"email_students": None}, {"email_students": ["Must be a valid boolean."]}),
        ({"reason": 1}, {"reason": ["Not a valid string."]}),
        (
            {"reason": "x" * 256},
            {"reason": ["Ensure this field has no more than 255 characters."]},
        ),
        (
            {"cohorts": "x" * 256},
            {"cohorts": ["Ensure a cohort has no more than 255 characters."]},
        ),
        (
            {"cohorts": "A,B"},
            {WHOLE: ["If provided, the cohorts and courses should have equal number of items."]},
        ),
        (
            {"cohorts": "A", "action": "unenroll"},
            {WHOLE: ["Cohorts can only be used for enrollments."]},
        ),
    ],
)
def test_what_is_wrong_is_said_by_field_in_upstream_s_words(more, expected):
    assert refusal(BODY | more) == expected


def test_everything_that_is_wrong_is_said_at_once():
    assert refusal({"action": "x", "courses": "no"}) == {
        "action": ['"x" is not a valid choice.'],
        "courses": ["Course key not valid: no"],
        "identifiers": ["This field is required."],
    }


def test_of_many_faults_the_first_are_said():
    found = refusal(BODY | {"courses": "a," * 100_000})

    assert found == {"courses": ["Course key not valid: a"] * 100}


@pytest.mark.parametrize("body", [[], "text", None, 1])
def test_what_is_no_object_is_refused_as_a_whole(body):
    assert refusal(body)[WHOLE][0].startswith("Invalid data. Expected a dictionary")


@pytest.mark.parametrize(
    ("text", "flag"), [("true", True), ("False", False), ("0", False), (True, True)]
)
def test_flags_may_be_words_because_forms_have_no_others(text, flag):
    assert load_bulk_enroll(BODY | {"auto_enroll": text}).auto_enroll is flag


def test_requests_go_course_by_course_each_with_its_cohort():
    asked = BulkEnroll("enroll", (COURSE, OTHER), ("ada", "b@example.org"), ("A", "B"))
    assert [tuple(row.values()) for row in asked.requests()] == [
        ("ada", COURSE, True, True, "A"),
        ("b@example.org", COURSE, True, True, "A"),
        ("ada", OTHER, True, True, "B"),
        ("b@example.org", OTHER, True, True, "B"),
    ]
    assert asked.size == 4


@given(st.dictionaries(st.sampled_from(["action", "identifiers", "courses", "cohorts", "auto_enroll", "reason", "x"]), st.none() | st.booleans() | st.text() | st.lists(st.text()) | st.sampled_from(["enroll", COURSE])))  # fmt: skip
def test_any_body_is_read_or_refused_and_its_rows_are_rows(body):
    with suppress(BulkEnrollErrors):
        assert all(map(is_row, load_bulk_enroll(body).requests()))


def is_row(asked):
    """Whether a row can be read, or nothing but its identifier is at fault."""
    try:
        load_request(asked)
    except InvalidRequest as error:
        return {found["field"] for found in error.findings} <= {"user", "email"}
    return True
