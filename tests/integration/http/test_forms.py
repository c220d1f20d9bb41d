"""POST /enrollment as a form, and who is told what about somebody else."""

import json
from urllib.parse import urlencode

import pytest

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
        {"force_enrollment": "true"},
        {"enrollment_attributes": "[]"},
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


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "text/plain", "text/csv", ""])
def test_everything_else_is_415(small, kind):
    answer = small.post("enrollment", small.server, body="user=ann", headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert "application/x-www-form-urlencoded" in answer.json["message"]


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, 202),
        ({"is_active": "yes"}, 400),
        ({"course_id": "no key"}, 400),
        ({"mode": 1}, 400),
        ({"mode": "verified"}, 403),
    ],
)
def test_somebody_else_is_404_whatever_else_is_wrong(small, more, status):
    body = {"user": "somebody", "course_id": "course-v1:a+b+c", **more}
    answer = small.post("enrollment", small.learner("ann"), json=body)
    assert (answer.status_code, answer.content) == (404, b"")
    own = small.post("enrollment", small.learner("ann"), json={**body, "user": "ann"})
    assert own.status_code == status
