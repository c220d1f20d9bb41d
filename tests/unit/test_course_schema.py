"""Courses, learners and invitations as callers see them."""

from datetime import UTC, datetime, timedelta

import pytest
from marshmallow import ValidationError

from enrollment.domain.model import Course, Invitation, Learner, Mode
from schemas.courses import apply_changes, dump_course, dump_details, load_changes, load_course
from schemas.findings import MAX_FINDINGS, Rule, findings_of
from schemas.invitations import dump_invitation, load_invitation
from schemas.learners import dump_learner, load_learner

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
KEY = "course-v1:Uni+ALG+2026"
FULL = {
    "course_id": KEY,
    "course_name": "Algebra",
    "enrollment_start": "2026-09-01T12:00:00Z",
    "enrollment_end": None,
    "course_start": "2026-09-01T12:00:00.000001Z",
    "course_end": None,
    "invite_only": True,
    "course_modes": [
        {
            "slug": "verified",
            "name": "Verified",
            "min_price": 49,
            "suggested_prices": "10,20",
            "currency": "eur",
            "expiration_datetime": "2026-09-01T12:00:00Z",
            "description": "with a certificate",
            "sku": "V-1",
            "bulk_sku": None,
        }
    ],
    "pacing_type": "Self Paced",
    "capacity": 5,
    "cohorts": ["red"],
    "seats_taken": 0,
}
COURSE = Course(
    course_id=KEY,
    name="Algebra",
    enrollment_start=NOON,
    course_start=NOON + timedelta(microseconds=1),
    invite_only=True,
    self_paced=True,
    modes=(
        Mode(
            slug="verified",
            name="Verified",
            min_price=49,
            suggested_prices="10,20",
            currency="eur",
            expires_at=NOON,
            description="with a certificate",
            sku="V-1",
        ),
    ),
    cohorts=("red",),
    capacity=5,
)


def wrong(load, data, **named):
    with pytest.raises(ValidationError) as refusal:
        load(data, **named)
    return [(bad["field"], bad["rule"]) for bad in findings_of(refusal.value, data)]


def test_a_course_is_read_whole():
    assert load_course(FULL) == COURSE


def test_what_we_write_can_be_sent_back_as_it_is():
    assert dump_course(COURSE) == FULL
    assert load_course(dump_course(COURSE), course_id=KEY) == COURSE


def test_the_address_alone_names_a_course_with_defaults():
    assert load_course({}, course_id=KEY) == Course(course_id=KEY)
    assert load_course({"course_modes": [{"slug": "audit"}]}, course_id=KEY).modes == (
        Mode(slug="audit"),
    )


def test_the_seats_taken_cannot_be_set():
    assert load_course({"seats_taken": 7, "course_id": KEY}).seats_taken == 0


@pytest.mark.parametrize(
    ("given_prices", "kept"),
    [("", ""), ("10,20", "10,20"), ([], ""), ([10], "10"), ([10, 20], "10,20")],
)
def test_suggested_prices_may_be_a_string_or_a_list(given_prices, kept):
    mode = {"slug": "audit", "suggested_prices": given_prices}

    assert load_course({"course_modes": [mode]}, course_id=KEY).modes[0].suggested_prices == kept


@pytest.mark.parametrize(
    ("members", "where"),
    [
        pytest.param({"extra": 1}, ("extra", "unknown"), id="unknown-field"),
        pytest.param({"course_id": "course-v1:x+y+z"}, ("course_id", "mismatch"), id="mismatch"),
        pytest.param({"capacity": -1}, ("capacity", "range"), id="negative-capacity"),
        pytest.param({"capacity": 2**31}, ("capacity", "range"), id="huge-capacity"),
        pytest.param({"capacity": True}, ("capacity", "type"), id="true-is-no-number"),
        pytest.param({"capacity": 1.0}, ("capacity", "type"), id="fraction"),
        pytest.param({"capacity": "5"}, ("capacity", "type"), id="number-as-text"),
        pytest.param({"invite_only": "true"}, ("invite_only", "type"), id="flag-as-text"),
        pytest.param({"invite_only": None}, ("invite_only", "null"), id="null-flag"),
        pytest.param({"course_name": 5}, ("course_name", "type"), id="name-type"),
        pytest.param({"course_name": "x" * 256}, ("course_name", "length"), id="name-length"),
        pytest.param({"course_name": "a\0b"}, ("course_name", "characters"), id="nul"),
        pytest.param({"course_name": "\ud800"}, ("course_name", "characters"), id="surrogate"),
        pytest.param({"enrollment_start": "2026-09-01"}, ("enrollment_start", "datetime"), id="date"),
        pytest.param({"enrollment_start": 5}, ("enrollment_start", "type"), id="number-as-date"),
        pytest.param({"pacing_type": "Fast"}, ("pacing_type", "one_of"), id="pacing"),
        pytest.param({"pacing_type": []}, ("pacing_type", "type"), id="pacing-type"),
        pytest.param({"cohorts": ["a", "b", "a"]}, ("cohorts.2", "duplicate"), id="cohort-twice"),
        pytest.param({"cohorts": [""]}, ("cohorts.0", "length"), id="nameless-cohort"),
        pytest.param({"cohorts": "red"}, ("cohorts", "type"), id="cohorts-type"),
        pytest.param({"cohorts": [str(n) for n in range(1001)]}, ("cohorts", "length"), id="cohorts-length"),
        pytest.param({"course_modes": [{}]}, ("course_modes.0.slug", "required"), id="no-slug"),
        pytest.param({"course_modes": [5]}, ("course_modes.0", "type"), id="mode-type"),
        pytest.param({"course_modes": [{"slug": "a b"}]}, ("course_modes.0.slug", "pattern"), id="slug"),
        pytest.param({"course_modes": [{"slug": "a"}, {"slug": "a"}]}, ("course_modes.1.slug", "duplicate"), id="slug-twice"),
        pytest.param({"course_modes": [{"slug": "a", "x": 1}]}, ("course_modes.0.x", "unknown"), id="unknown-in-mode"),
        pytest.param({"course_modes": [{"slug": "a", "currency": "€€€"}]}, ("course_modes.0.currency", "pattern"), id="currency"),
        pytest.param({"course_modes": [{"slug": "a", "suggested_prices": "ten"}]}, ("course_modes.0.suggested_prices", "pattern"), id="prices"),
        pytest.param({"course_modes": [{"slug": "a", "suggested_prices": [True]}]}, ("course_modes.0.suggested_prices", "type"), id="prices-type"),
        pytest.param({"course_modes": [{"slug": "a", "suggested_prices": [-1]}]}, ("course_modes.0.suggested_prices", "pattern"), id="negative-price"),
    ],
)  # fmt: skip
def test_a_bad_course_is_refused_where_it_is_bad(members, where):
    assert wrong(load_course, members, course_id=KEY) == [where]
    assert wrong(load_changes, members, course_id=KEY) == [where]
    assert where[1] in set(Rule)


@pytest.mark.parametrize("body", [None, 5, "text", [], [{}]])
def test_a_body_that_is_no_object_is_refused(body):
    assert wrong(load_course, body, course_id=KEY) == [("", "type")]
    assert wrong(load_changes, body, course_id=KEY) == [("", "type")]
    assert wrong(load_learner, body, username="ada") == [("", "type")]


def test_the_id_must_be_a_course_key():
    assert wrong(load_course, {"course_id": "algebra"}) == [("course_id", "course_key")]
    assert wrong(load_course, {}) == [("course_id", "required")]


def test_changes_hold_only_what_was_sent():
    members = load_changes({"capacity": None, "pacing_type": "Instructor Paced"}, course_id=KEY)

    assert members == {"capacity": None, "self_paced": False}
    assert apply_changes(COURSE, members).capacity is None
    assert apply_changes(COURSE, members).modes == COURSE.modes
    assert apply_changes(COURSE, load_changes({"course_modes": []}, course_id=KEY)).modes == ()


def test_details_have_upstreams_members_in_upstreams_order():
    shown_now = dump_details(COURSE, at=NOON, include_expired=False)

    assert list(shown_now) == [
        name for name in FULL if name not in {"capacity", "cohorts", "seats_taken"}
    ]
    assert shown_now == {name: FULL[name] for name in shown_now}
    assert list(shown_now["course_modes"][0]) == list(FULL["course_modes"][0])


def test_details_leave_expired_modes_out_unless_asked():
    late = NOON + timedelta(microseconds=1)

    assert [
        m["slug"] for m in dump_details(COURSE, at=NOON, include_expired=False)["course_modes"]
    ] == ["verified"]
    assert [
        m["slug"] for m in dump_details(COURSE, at=late, include_expired=True)["course_modes"]
    ] == ["verified"]
    assert dump_details(COURSE, at=late, include_expired=False)["course_modes"] == [
        {
            "slug": "audit", "name": "Audit", "min_price": 0, "suggested_prices": "",
            "currency": "usd", "expiration_datetime": None, "description": None,
            "sku": None, "bulk_sku": None,
        }
    ]  # fmt: skip


def test_findings_say_where_by_pointer_and_are_bounded():
    data = {"a/b~c": 1, **{f"x{number}": 1 for number in range(200)}}

    with pytest.raises(ValidationError) as refusal:
        load_course(data, course_id=KEY)
    found = findings_of(refusal.value, data)

    assert len(found) == MAX_FINDINGS + 1
    assert {bad["rule"] for bad in found} == {"unknown", "omitted"}
    assert findings_of(ValidationError({"a/b~c": ["unknown"]}), data) == (
        {"pointer": "/a~1b~0c", "field": "a/b~c", "value": 1, "rule": "unknown"},
    )
    assert (
        findings_of(ValidationError({"list": {0: {"x": ["type"]}}}), {"list": [5]})[0]["value"]
        is None
    )


def test_a_learner_is_read_and_written():
    learner = Learner("ada", "ada@example.org", is_active=False, is_staff=True, is_retiring=True)

    assert load_learner(dump_learner(learner, {"Uni": True})) == learner
    assert load_learner({"email": "ADA@example.org"}, username="ada") == Learner(
        "ada", "ada@example.org"
    )
    assert load_learner({}, username="ada") == Learner("ada")


@pytest.mark.parametrize(
    ("members", "where"),
    [
        ({"username": "bob"}, ("username", "mismatch")),
        ({"email": "nobody"}, ("email", "email")),
        ({"email": 5}, ("email", "type")),
        ({"is_staff": 1}, ("is_staff", "type")),
        ({"id": 1}, ("id", "unknown")),
    ],
)
def test_a_bad_learner_is_refused_where_it_is_bad(members, where):
    assert wrong(load_learner, members, username="ada") == [where]


def test_an_invitation_is_read_and_written():
    invitation = load_invitation(
        {"expires_at": "2026-09-01T12:00:00Z", "auto_enroll": True}, course_id=KEY, email="a@b"
    )

    assert invitation == Invitation(KEY, "a@b", NOON, auto_enroll=True)
    assert dump_invitation(invitation) == {
        "course_id": KEY, "email": "a@b", "expires_at": "2026-09-01T12:00:00Z",
        "auto_enroll": True, "used_by": None,
    }  # fmt: skip
    assert dump_invitation(Invitation(KEY, "a@b"))["expires_at"] is None
    with pytest.raises(ValidationError):
        load_invitation({"used_by": "eve"}, course_id=KEY, email="a@b")
