"""Bodies exactly as published clients of Open edX send them to POST /enrollment."""

import json

import pytest

from tests.support.openedx_client import (
    KEY,
    State,
    active,
    as_learner,
    inactive,
    ok,
)

PATH = "/api/enrollment/v1/enrollment"
ORDER = {"namespace": "order", "name": "order_number", "value": "EDX-1000"}
#: By client: what it sends beside user and course, to a course with audit, verified and credit.
BODIES = {
    "coordinator": {
        "mode": "verified",
        "is_active": True,
        "email_opt_in": True,
        "enrollment_attributes": [
            {"namespace": "order", "name": "order_id", "value": "1"},
            {"namespace": "order", "name": "line_item_id", "value": "2"},
            {"namespace": "order", "name": "date_placed", "value": "2026-01-02"},
            {"namespace": "order", "name": "source_system", "value": "coordinator"},
        ],
    },
    "ecommerce": {"mode": "verified", "is_active": True, "enrollment_attributes": [ORDER]},
    "ecommerce-credit": {
        "mode": "credit",
        "is_active": True,
        "enrollment_attributes": [
            ORDER,
            {"namespace": "credit", "name": "provider_id", "value": "hogwarts"},
        ],
    },
    "enterprise": {"is_active": True, "mode": "audit", "cohort": None, "enterprise_uuid": "None"},
    "enterprise-linked": {
        "mode": "audit",
        "enterprise_uuid": "2f9c0e3a-4a0e-4d4f-8f5e-0a2f0a2f0a2f",
        "linked_enterprise_customer": "2f9c0e3a-4a0e-4d4f-8f5e-0a2f0a2f0a2f",
        "enterprise_course_consent": True,
    },
    "mitxonline": {"mode": "verified", "force_enrollment": True},
    "commercetools": {
        "mode": "verified",
        "is_active": True,
        "enrollment_attributes": [
            {"namespace": "openedx-commerce", "name": "message", "value": "paid"}
        ],
    },
    "update-mode": {"mode": "verified"},
    "joanie": {"is_active": True, "mode": "verified", "enrollment_attributes": []},
}


def asked(course: str, user: str | None, **members: object) -> dict[str, object]:
    named = {} if user is None else {"user": user}
    return {**named, "course_details": {"course_id": course}, **members}


@pytest.mark.parametrize("client", BODIES)
@pytest.mark.parametrize("content_type", ["application/json", "application/JSON"])
def test_a_server_side_client_enrolls(edx, client, content_type):
    course, user = edx.course("audit", "verified", "credit"), edx.learner()
    content = json.dumps(asked(course, user, **BODIES[client]))
    headers = {**KEY, "Content-Type": content_type}
    for _ in range(2):  # tasks are delivered again
        shown = ok(edx.send_raw("POST", PATH, content=content, headers=headers))
        assert list(shown) == ["created", "mode", "is_active", "course_details", "user"]
        assert State(shown["mode"], shown["is_active"]) == active(BODIES[client]["mode"])
    assert edx.state(course, user) == active(BODIES[client]["mode"])


@pytest.mark.parametrize("opt_in", ["ada@example.com", True], ids=["android", "ios"])
def test_a_mobile_app_enrolls_its_own_user(edx, opt_in):
    course, user = edx.course("audit"), edx.learner()
    body = {"course_details": {"course_id": course, "email_opt_in": opt_in}}
    shown = ok(edx.send_raw("POST", PATH, json=body, headers=dict(as_learner(user))))
    assert (shown["user"], shown["is_active"]) == (user, True)


def test_a_form_of_the_browser_enrolls_its_own_user(edx):
    course, user = edx.course("audit"), edx.learner()
    data = {"course_details": json.dumps({"course_id": course})}
    assert ok(edx.send_raw("POST", PATH, data=data, headers=dict(as_learner(user))))["user"] == user


def test_without_is_active_another_mode_is_an_upgrade_and_an_inactive_one_comes_back(edx):
    course, user = edx.course("audit", "verified"), edx.learner()
    edx.enrolled(course, user, mode="audit")
    edx.enrolled(course, user, mode="verified")
    assert edx.state(course, user) == active("verified")
    for _ in range(2):
        edx.enrolled(course, user, is_active=False)
        assert edx.state(course, user) == inactive("verified")
    edx.enrolled(course, user)
    assert edx.state(course, user) == active("verified")


def test_a_refund_of_another_mode_is_a_mismatch_even_if_that_mode_is_unknown(edx):
    course, user = edx.course("audit", "verified"), edx.learner()
    edx.enrolled(course, user, mode="verified")
    for mode in ("audit", "honor"):
        refused = edx.enroll(KEY, course, user=user, mode=mode, is_active=False)
        assert refused.status_code == 400
        assert refused.headers["content-type"] == "application/json"
        assert refused.json()["message"] == (
            "Enrollment mode mismatch: active mode=verified, "
            f"requested mode={mode}. Won't deactivate."
        )


def test_a_mode_that_is_over_names_the_course_run(edx):
    course = edx.course("audit")
    refused = edx.enroll(KEY, course, user=edx.learner(), mode="verified")
    assert refused.status_code == 400
    assert refused.json()["message"] == (
        f"The [verified] course mode is expired or otherwise unavailable for course run [{course}]."
    )


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"content": b"{}", "headers": {"Content-Type": "application/json"}}, id="{}"),
        pytest.param({"data": {"mode": "audit"}}, id="form"),
        pytest.param({"files": {"mode": (None, "audit")}}, id="multipart"),
    ],
)
def test_without_a_course_it_is_400_with_its_message(edx, how):
    headers = {**as_learner(edx.learner()), **how.get("headers", {})}
    refused = edx.send_raw("POST", PATH, **{**how, "headers": headers})
    assert refused.status_code == 400
    assert refused.json()["message"] == "Course ID must be specified to create a new enrollment."


@pytest.mark.parametrize("content", [b'{"a": ', b"[1]", b"3"])
def test_an_error_is_an_object_with_a_message(edx, content):
    headers = {**KEY, "Content-Type": "application/json"}
    refused = edx.send_raw("POST", PATH, content=content, headers=headers)
    assert refused.status_code == 400
    assert refused.json()["message"]


def test_a_slash_at_the_end_makes_no_difference_and_never_redirects(edx):
    course, user = edx.course("audit"), edx.learner()
    answer = edx.send_raw("POST", f"{PATH}/", json=asked(course, user), headers=KEY)
    assert ok(answer)["user"] == user
