"""POST /enrollment as a form, and who is told what about somebody else."""

import json
from urllib.parse import urlencode

import pytest

from tests.support.form_bodies import media_of, multipart, multipart_header
from tests.support.gateway import AUDIT, VERIFIED, fresh

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def post(gateway, fields, who=None):
    return gateway.answered(
        "POST",
        "enrollment",
        who or gateway.server,
        body=urlencode(fields),
        headers={**FORM, "Prefer": "wait=20"},
    )


@pytest.mark.parametrize(
    "named",
    [
        lambda course_id: {"course_details.course_id": course_id},
        lambda course_id: {"course_id": course_id},
        lambda course_id: {"course_details": json.dumps({"course_id": course_id})},
    ],
)
def test_a_form_asks_what_json_asks(gateway, named):
    course_id, user = gateway.course(AUDIT, VERIFIED), fresh("ann")
    fields = {"user": user, "mode": "verified", "unknown": "x", **named(course_id)}
    answer = post(gateway, fields)
    assert answer.status_code == 200, answer.text
    assert (answer.json["user"], answer.json["mode"]) == (user, "verified")


@pytest.mark.parametrize("kind", ["json", "upper", "urlencoded", "multipart"])
def test_every_media_type_does_the_same(gateway, kind):
    course_id, user = gateway.course(AUDIT, VERIFIED), fresh("ann")
    order = {"namespace": "order", "name": "order_number", "value": "EDX-1"}
    body = {
        "user": user,
        "course_details": {"course_id": course_id},
        "mode": "verified",
        "is_active": True,
        "enrollment_attributes": [order],
    }
    content_type, sent = media_of(body)[kind]
    headers = {"Content-Type": content_type, "Prefer": "wait=20"}
    answer = gateway.answered("POST", "enrollment", gateway.server, body=sent, headers=headers)
    assert (answer.status_code, answer.json["mode"]) == (200, "verified")
    history = gateway.get(f"enrollment/{user},{course_id}/history", gateway.server).json["events"]
    assert [event["data"]["after"]["attributes"] for event in history] == [[order]]


@pytest.mark.parametrize(
    ("word", "is_active"), [("true", True), ("True", True), ("false", False), ("False", False)]
)
def test_true_and_false_are_words(gateway, word, is_active):
    fields = {"user": fresh("ann"), "course_id": gateway.course(AUDIT), "is_active": word}
    assert post(gateway, fields).json["is_active"] is is_active


@pytest.mark.parametrize(
    "more",
    [
        {"is_active": "yes"},
        {"course_id": "no key"},
        {"course_details": "{"},
        {"course_details": "[1]"},
        {"course_details": "course-v1:a+b+c"},
        {"force_enrollment": "yes"},
        {"enrollment_attributes": "["},
        {"enrollment_attributes": "{}"},
    ],
)
def test_a_form_that_says_something_else_is_400(gateway, more):
    fields = {"user": fresh("ann"), "course_id": gateway.course(AUDIT), **more}
    answer = gateway.post("enrollment", gateway.server, body=urlencode(fields), headers=FORM)
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_row")


@pytest.mark.parametrize("body", [b"user=%ff", "user=ä".encode(), b"a=1&" * 101, b"user=%00"])
def test_what_is_no_form_is_400(small, body):
    answer = small.post("enrollment", small.server, body=body, headers=FORM)
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("kind", ["text/plain", "text/csv", "", "multipart/mixed; boundary=x"])
@pytest.mark.parametrize("path", ["enrollment", "/api/bulk_enroll/v1/bulk_enroll"])
def test_everything_else_is_415(small, path, kind):
    answer = small.post(path, small.admin, body="user=ann", headers={"Content-Type": kind})
    assert answer.status_code == 415
    for accepted in ("application/json", FORM["Content-Type"], "multipart/form-data"):
        assert accepted in answer.json["message"]
    assert "''" not in answer.json["message"]
    assert ("Content-Type, which is missing" in answer.json["message"]) == (kind == "")


@pytest.mark.parametrize("kind", [None, "application/json", FORM["Content-Type"]])
def test_an_empty_body_is_an_empty_object(small, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    answer = small.post("enrollment", small.server, headers=headers)
    told = "Course ID must be specified to create a new enrollment."
    assert (answer.status_code, answer.json["message"]) == (400, told)
    bulk = small.post("/api/bulk_enroll/v1/bulk_enroll", small.admin, headers=headers)
    assert (bulk.status_code, bulk.json["action"]) == (400, ["This field is required."])


def test_a_key_counts_the_members_of_a_multipart_form_and_not_its_boundary(gateway):
    course_id, user = gateway.course(AUDIT), fresh("ann")
    fields, sent = {"user": user, "course_id": course_id}, []
    for boundary, more in (("one", {}), ("two", {}), ("three", {"mode": "audit"})):
        body = multipart({**fields, **more}, boundary)
        headers = {**multipart_header(boundary), "Idempotency-Key": user}
        sent.append(gateway.post("enrollment", gateway.server, body=body, headers=headers))
    assert [answer.status_code for answer in sent] == [202, 202, 422]
    assert sent[1].headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, 202),
        ({"is_active": "yes"}, 400),
        ({"mode": 1}, 400),
        ({"mode": "verified"}, 403),
    ],
)
def test_somebody_else_is_404_whatever_else_is_wrong_but_the_course(small, more, status):
    body = {"user": "somebody", "course_id": "course-v1:a+b+c", **more}
    answer = small.post("enrollment", small.learner("ann"), json=body)
    assert (answer.status_code, answer.content) == (404, b"")
    own = small.post("enrollment", small.learner("ann"), json={**body, "user": "ann"})
    assert own.status_code == status
