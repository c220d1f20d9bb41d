from datetime import UTC, datetime

import pytest

from enrollment.domain.model import Attribute
from schemas.requests.parsed import InvalidRequest, ParsedRequest
from schemas.requests.schema import RequestSchema, load_request, v1_message

KEY = "course-v1:edX+DemoX+Demo"
ASK = {"user": "ada", "course_id": KEY}
ATTRIBUTE = {"namespace": "credit", "name": "provider_id", "value": "x"}


def findings_of(body):
    with pytest.raises(InvalidRequest) as refusal:
        load_request(body)
    return [(f["field"], f["value"], f["rule"]) for f in refusal.value.findings]


def test_all_that_can_be_asked_is_read():
    asked = load_request(
        {
            "user": "ada",
            "email": "Ada@Example.ORG",
            "course_details": {"course_id": KEY, "email_opt_in": "ada@example.org"},
            "mode": "verified",
            "is_active": False,
            "enrollment_attributes": [ATTRIBUTE | {"more": 1}],
            "cohort": "blue",
            "force_enrollment": True,
            "requested_at": "2026-01-02T03:04:05+02:00",
            "enterprise_uuid": "None",
            "__proto__": {},
        }
    )

    assert asked == ParsedRequest(
        username="ada",
        email="ada@example.org",
        course_id=KEY,
        is_active=False,
        mode="verified",
        attributes=(Attribute("credit", "provider_id", "x"),),
        cohort="blue",
        force=True,
        requested_at=datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "absent",
    [
        pytest.param({"user": None, "email": None, "mode": None, "is_active": None}, id="null"),
        pytest.param({"user": "", "email": "", "mode": "", "cohort": ""}, id="empty"),
        pytest.param({"user": 0, "email": False}, id="falsy"),
        pytest.param(
            {"requested_at": None, "cohort": None, "force_enrollment": None}, id="more-null"
        ),
        pytest.param({"enrollment_attributes": None, "course_details": None}, id="objects-null"),
        pytest.param({"course_details": {}}, id="empty-details"),
        pytest.param({"course_details": {"course_id": None}}, id="null-course-in-details"),
    ],
)
def test_what_is_null_or_empty_was_not_asked(absent):
    assert load_request({"course_id": KEY} | absent) == ParsedRequest(None, None, KEY)


def test_the_course_in_the_details_goes_before_the_other():
    assert (
        load_request({"course_id": "a/b/c", "course_details": {"course_id": KEY}}).course_id == KEY
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({"user": "ada"}, [("course_id", None, "required")], id="no-course"),
        pytest.param(
            ASK | {"course_id": "nope"}, [("course_id", "nope", "course_key")], id="no-key"
        ),
        pytest.param(ASK | {"course_id": 7}, [("course_id", 7, "type")], id="course-type"),
        pytest.param(
            ASK | {"course_details": [1]}, [("course_details", "[1]", "type")], id="details-type"
        ),
        pytest.param(ASK | {"user": "a;b"}, [("user", "a;b", "pattern")], id="username"),
        pytest.param(ASK | {"user": ["a"]}, [("user", '["a"]', "type")], id="username-type"),
        pytest.param(
            ASK | {"user": "a" * 256}, [("user", "a" * 99 + "…", "length")], id="username-length"
        ),
        pytest.param(
            ASK | {"user": "a\0"}, [("user", "a\ufffd", "invisible_character")], id="username-nul"
        ),
        pytest.param(ASK | {"email": "ada"}, [("email", "ada", "pattern")], id="email"),
        pytest.param(
            ASK | {"email": "a@" + "b" * 260},
            [("email", "a@" + "b" * 97 + "…", "length")],
            id="email-length",
        ),
        pytest.param(
            ASK | {"email": "a\ud800@b"}, [("email", "a\ufffd@b", "pattern")], id="email-surrogate"
        ),
        pytest.param(ASK | {"mode": "a\0"}, [("mode", "a\ufffd", "characters")], id="mode-nul"),
        pytest.param(
            ASK | {"mode": "m" * 101}, [("mode", "m" * 99 + "…", "length")], id="mode-length"
        ),
        pytest.param(ASK | {"mode": 3}, [("mode", 3, "type")], id="mode-type"),
        pytest.param(
            ASK | {"is_active": "true"}, [("is_active", "true", "type")], id="active-word"
        ),
        pytest.param(ASK | {"is_active": ""}, [("is_active", "", "type")], id="active-empty"),
        pytest.param(
            ASK | {"force_enrollment": ""}, [("force_enrollment", "", "type")], id="force-empty"
        ),
        pytest.param(
            ASK | {"enrollment_attributes": ""},
            [("enrollment_attributes", "", "type")],
            id="attributes-empty",
        ),
        pytest.param(ASK | {"user": " ada"}, [("user", " ada", "pattern")], id="space-before"),
        pytest.param(ASK | {"user": "ada "}, [("user", "ada ", "pattern")], id="space-behind"),
        pytest.param(ASK | {"is_active": 1}, [("is_active", 1, "type")], id="active-number"),
        pytest.param(ASK | {"force_enrollment": 0}, [("force_enrollment", 0, "type")], id="force"),
        pytest.param(ASK | {"cohort": {}}, [("cohort", "{}", "type")], id="cohort-type"),
        pytest.param(
            ASK | {"requested_at": "2026-01-02T03:04:05"},
            [("requested_at", "2026-01-02T03:04:05", "datetime")],
            id="no-zone",
        ),
        pytest.param(
            ASK | {"requested_at": 5}, [("requested_at", 5, "datetime")], id="moment-type"
        ),
        pytest.param(
            ASK | {"requested_at": "0001-01-01T00:00:00+14:00"},
            [("requested_at", "0001-01-01T00:00:00+14:00", "datetime")],
            id="before-time",
        ),
        pytest.param(
            ASK | {"requested_at": "2" * 65},
            [("requested_at", "2" * 65, "datetime")],
            id="long-moment",
        ),
        pytest.param(
            ASK | {"enrollment_attributes": "x"},
            [("enrollment_attributes", "x", "type")],
            id="attributes-type",
        ),
        pytest.param(
            ASK | {"enrollment_attributes": [5]},
            [("enrollment_attributes.0", 5, "type")],
            id="attribute-type",
        ),
        pytest.param(
            ASK | {"enrollment_attributes": [ATTRIBUTE, {"namespace": "n", "name": "m"}]},
            [("enrollment_attributes.1.value", None, "required")],
            id="attribute-part-missing",
        ),
        pytest.param(
            ASK | {"enrollment_attributes": [ATTRIBUTE | {"value": 5}]},
            [("enrollment_attributes.0.value", 5, "type")],
            id="attribute-part-type",
        ),
        pytest.param(
            ASK | {"user": "a;b", "is_active": "x"},
            [("user", "a;b", "pattern"), ("is_active", "x", "type")],
            id="two-at-once",
        ),
        pytest.param([], [("", "[]", "type")], id="array"),
        pytest.param("text", [("", "text", "type")], id="text"),
        pytest.param(None, [("", None, "type")], id="null"),
    ],
)
def test_each_broken_rule_is_told_with_its_field_and_value(body, expected):
    assert findings_of(body) == expected


def test_attributes_are_bounded():
    [(field, _, rule)] = findings_of(ASK | {"enrollment_attributes": [ATTRIBUTE] * 101})

    assert (field, rule) == ("enrollment_attributes", "length")
    assert len(load_request(ASK | {"enrollment_attributes": [ATTRIBUTE] * 100}).attributes) == 100


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param({}, "Course ID must be specified to create a new enrollment.", id="no-course"),
        pytest.param(
            {"course_details": 5},
            "Course ID must be specified to create a new enrollment.",
            id="details",
        ),
        pytest.param(ASK | {"course_id": "x"}, "No course 'x' found for enrollment", id="course"),
        pytest.param(
            ASK | {"is_active": "t"}, "'t' is an invalid enrollment activation status.", id="active"
        ),
        pytest.param(
            ASK | {"force_enrollment": "t"},
            "'t' is an invalid force enrollment status.",
            id="force",
        ),
        pytest.param(
            ASK | {"enrollment_attributes": [{"namespace": "n", "name": "m"}]},
            "'value' not in enrollment attribute",
            id="attribute",
        ),
        pytest.param(
            ASK | {"mode": 5},
            "mode: 5 is not a text: write a text, in JSON between quotes.",
            id="mode",
        ),
        pytest.param(
            [],
            "'[]' is not an object: send a JSON object, and one for each row in a list or a file.",
            id="body",
        ),
        pytest.param(
            ASK | {"mode": 5, "force_enrollment": 5, "is_active": 5},
            "'5' is an invalid enrollment activation status.",
            id="the-first-of-upstream",
        ),
    ],
)
def test_upstreams_words_are_kept(body, message):
    with pytest.raises(InvalidRequest) as refusal:
        load_request(body)

    assert v1_message(refusal.value.findings) == message


def test_the_schema_stands_alone():
    assert RequestSchema().load({"user": "", "course_details": {"course_id": KEY}}) == load_request(
        {"course_id": KEY}
    )
