"""Lists are measured before they are read, and findings are bounded where they are made."""

import json

import pytest
from marshmallow import ValidationError

from schemas.courses import COURSE_SCHEMA, MAX_COHORTS, MAX_MODES, ModeSchema, load_course
from schemas.crosswalks import ENTRIES_READER, MAX_CROSSWALK_ENTRIES
from schemas.findings import MAX_FINDINGS, findings_of
from schemas.openedx_bulk_enroll import load_bulk_enroll
from schemas.requests.bulk_objects import BulkReader, TooManyObjects
from schemas.requests.parsed import MAX_ATTRIBUTES, InvalidRequest
from schemas.requests.schema import AttributeSchema, load_request

KEY = "course-v1:edX+DemoX+Demo"
#: More characters than any answer to a short request has.
SHORT = 30_000


def request(**members):
    return {"user": "ada", "course_id": KEY, **members}


def findings_on_course(**members):
    data = {"course_id": KEY, **members}
    with pytest.raises(ValidationError) as caught:
        COURSE_SCHEMA.load(data)
    return findings_of(caught.value, data)


@pytest.mark.parametrize(
    ("member", "most"), [("course_modes", MAX_MODES), ("cohorts", MAX_COHORTS)]
)
def test_a_list_of_a_course_is_measured_before_it_is_read(member, most):
    found = findings_on_course(**{member: [{}] * (most + 1)})

    assert [(item["field"], item["rule"]) for item in found] == [(member, "length")]


def test_attributes_are_measured_before_they_are_read(monkeypatch):
    monkeypatch.setattr(AttributeSchema, "load", lambda *_, **__: pytest.fail("it was read"))

    with pytest.raises(InvalidRequest) as caught:
        load_request(request(enrollment_attributes=[{}] * 60_000))

    (found,) = caught.value.findings
    assert (found["field"], found["rule"]) == ("enrollment_attributes", "length")
    assert len(json.dumps(found)) < 300


@pytest.mark.parametrize("kind", ["object", "text", "number"])
def test_only_a_list_is_a_list(kind):
    value = {"object": {"a": 1}, "text": "abc", "number": 7}[kind]

    with pytest.raises(InvalidRequest) as caught:
        load_request(request(enrollment_attributes=value))

    assert [item["rule"] for item in caught.value.findings] == ["type"]


def test_of_many_findings_on_a_request_the_first_hundred_are_shown_and_the_rest_counted():
    with pytest.raises(InvalidRequest) as caught:
        load_request(request(enrollment_attributes=[{}] * MAX_ATTRIBUTES))

    found = caught.value.findings
    assert len(found) == MAX_FINDINGS + 1
    assert found[-1] == {"field": "", "value": 3 * MAX_ATTRIBUTES - MAX_FINDINGS, "rule": "omitted"}
    assert len(json.dumps(found)) < SHORT


def test_of_many_findings_on_an_object_the_first_hundred_are_shown_and_the_rest_counted():
    found = findings_on_course(**{f"member{number}": number for number in range(5_000)})

    assert len(found) == MAX_FINDINGS + 1
    assert found[-1] == {"pointer": "", "field": "", "value": 4_900, "rule": "omitted"}
    assert len(json.dumps(found)) < SHORT


def test_a_hundred_findings_are_all_shown():
    found = findings_on_course(**{f"member{number}": number for number in range(MAX_FINDINGS)})

    assert {item["rule"] for item in found} == {"unknown"}
    assert len(found) == MAX_FINDINGS


@pytest.mark.parametrize(
    "value", [list(range(1_000)), {str(n): n for n in range(1_000)}, [[0] * 1_000] * 1_000]
)
def test_a_long_value_is_shown_by_its_beginning(value):
    (found,) = findings_on_course(capacity=value)

    assert found["value"] == json.dumps(value, separators=(",", ":"))[:99] + "…"


@pytest.mark.parametrize(
    ("reader", "most"),
    [
        (ENTRIES_READER, MAX_CROSSWALK_ENTRIES),
        (
            BulkReader(
                "courses", load_course, key=lambda it: it.course_id, key_field="", max_objects=3
            ),
            3,
        ),
    ],
    ids=["entries", "courses"],
)
def test_a_list_of_objects_is_measured_before_it_is_read(reader, most, monkeypatch):
    monkeypatch.setattr(reader, "_load", lambda _: pytest.fail("it was read"))

    with pytest.raises(TooManyObjects):
        reader.read(json.dumps({reader.name: [{}] * (most + 1)}).encode(), "application/json")


def test_an_identifier_that_is_no_learner_is_not_repeated_in_every_request():
    bulk = load_bulk_enroll(
        {"action": "enroll", "courses": [KEY, f"{KEY}2"], "identifiers": "a" * 900_000}
    )

    assert max(len(str(one["user"])) for one in bulk.requests()) == 256


def test_the_bound_of_a_list_is_in_the_schema():
    assert COURSE_SCHEMA.fields["course_modes"].max_items == MAX_MODES
    assert isinstance(COURSE_SCHEMA.fields["course_modes"].inner.schema, ModeSchema)
