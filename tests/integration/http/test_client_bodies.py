"""Bodies of POST /enrollment as published clients send them."""

import pytest

from enrollment.storage.people import opt_ins
from tests.support.form_bodies import media_of
from tests.support.gateway import AUDIT, HONOR, VERIFIED, fresh

UUID = "0b1d2b6e-6f0e-4a39-9a2e-2f8b8c1f8c4e"


def attribute(namespace, name, value):
    return {"namespace": namespace, "name": name, "value": value}


def opt_in_of(gateway, user):
    with gateway.sessions.read() as session:
        return opt_ins.find(session, user)


ORDER = [
    attribute("order", "order_number", "EDX-1"),
    attribute("order", "order_id", "1"),
    attribute("order", "line_item_id", "2"),
    attribute("order", "date_placed", "2026-01-02T03:04:05.678901Z"),
    attribute("order", "source_system", "commercetools"),
]
MESSAGE = [attribute("openedx-commerce", "message", "Paid.")]


@pytest.mark.parametrize(
    ("details", "members", "ignored"),
    [
        pytest.param({"email_opt_in": True}, {}, [], id="ios"),
        pytest.param({"email_opt_in": "ann@example.org"}, {}, [], id="android"),
        pytest.param({}, {"mode": "honor", "is_active": True}, [], id="ecommerce"),
        pytest.param(
            {},
            {"mode": "verified", "email_opt_in": False, "enrollment_attributes": ORDER},
            [],
            id="coordinator",
        ),
        pytest.param(
            {},
            {"mode": "audit", "cohort": None, "is_active": True, "enterprise_uuid": "None"},
            ["enterprise_uuid"],
            id="edx-enterprise-without-one",
        ),
        pytest.param(
            {},
            {"mode": "audit", "cohort": None, "is_active": True, "enterprise_uuid": UUID},
            ["enterprise_uuid"],
            id="edx-enterprise",
        ),
        pytest.param(
            {},
            {"mode": "verified", "linked_enterprise_customer": UUID, "is_active": True},
            ["linked_enterprise_customer"],
            id="enterprise-customer",
        ),
        pytest.param(
            {}, {"is_active": True, "mode": "audit", "force_enrollment": True}, [], id="mitodl"
        ),
        pytest.param(
            {}, {"mode": "audit", "enrollment_attributes": MESSAGE}, [], id="openedx-commerce"
        ),
        pytest.param({}, {"mode": "", "email": "", "is_active": None}, [], id="empty-members"),
    ],
)
def test_a_body_of_a_client_enrolls_and_unread_members_are_named(
    gateway, details, members, ignored
):
    course_id, user = gateway.course(AUDIT, HONOR, VERIFIED), fresh("ann")
    body = {"user": user, "course_details": {"course_id": course_id, **details}, **members}
    headers = {"Prefer": "wait=20"}

    answer = gateway.answered("POST", "enrollment", gateway.edx, json=body, headers=headers)

    assert (answer.status_code, answer.json["is_active"]) == (200, True), answer.text
    assert answer.json["mode"] == (members.get("mode") or "audit")
    stored = gateway.get(answer.headers["location"], gateway.edx).json
    assert stored["ignored_fields"] == ignored


@pytest.mark.parametrize("kind", ["json", "urlencoded", "multipart"])
@pytest.mark.parametrize("opt_in", [True, False, None])
@pytest.mark.parametrize("by_key", [True, False])
def test_an_opt_in_is_kept_for_the_learner_who_is_enrolled(gateway, kind, opt_in, by_key):
    course_id, user = gateway.course(AUDIT), fresh("ann")
    body = {"course_details": {"course_id": course_id}}
    if by_key:
        body["user"] = user
    if opt_in is not None:
        body["email_opt_in"] = opt_in
    content_type, sent = media_of(body)[kind]
    caller = gateway.edx if by_key else gateway.learner(user)
    headers = {"Content-Type": content_type, "Prefer": "wait=20"}

    answer = gateway.answered("POST", "enrollment", caller, body=sent, headers=headers)

    assert (answer.status_code, answer.json["user"]) == (200, user), answer.text
    assert opt_in_of(gateway, user) == ({} if opt_in is None else {"Uni": opt_in})


@pytest.mark.parametrize(
    ("details", "members", "kept"),
    [
        ({"email_opt_in": True}, {}, True),
        ({"email_opt_in": True}, {"email_opt_in": False}, False),
        ({"email_opt_in": True}, {"email_opt_in": None}, True),
        ({"email_opt_in": "ann@example.org"}, {}, None),
        ({"email_opt_in": "ann@example.org"}, {"email_opt_in": True}, True),
    ],
)
def test_mobile_clients_state_it_with_the_course(gateway, details, members, kept):
    course_id, user = gateway.course(AUDIT), fresh("ann")
    body = {"course_details": {"course_id": course_id, **details}, **members}
    headers = {"Prefer": "wait=20"}

    answer = gateway.answered(
        "POST", "enrollment", gateway.learner(user), json=body, headers=headers
    )

    assert answer.status_code == 200, answer.text
    assert opt_in_of(gateway, user) == ({} if kept is None else {"Uni": kept})


@pytest.mark.parametrize("opt_in", ["ann@example.org", 1, "true", []])
def test_an_opt_in_that_is_no_boolean_is_400(gateway, opt_in):
    body = {"user": "ann", "course_id": gateway.course(AUDIT), "email_opt_in": opt_in}
    answer = gateway.post("enrollment", gateway.server, json=body)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "email_opt_in")
