"""Members of a single request that are not read are named, and refused if they look like ours."""

from urllib.parse import urlencode

import pytest

from schemas.requests.near_miss import CLIENT_MEMBERS
from tests.support.gateway import AUDIT, VERIFIED, fresh, without_token

FORM = "application/x-www-form-urlencoded"


def ask(gateway, **members):
    return {"user": fresh("ann"), "course_id": gateway.course(AUDIT, VERIFIED), **members}


def send_form(gateway, fields):
    return gateway.post(
        "enrollment", gateway.server, body=urlencode(fields), headers={"Content-Type": FORM}
    )


def test_the_202_and_the_submission_name_what_is_not_read(gateway):
    body = ask(
        gateway, note="x", email_opt_in=True, linked_enterprise_customer="y", enterprise_uuid="None"
    )

    accepted = gateway.post("enrollment", gateway.server, json=body)

    assert accepted.status_code == 202
    assert accepted.json["ignored_fields"] == [
        "note",
        "linked_enterprise_customer",
        "enterprise_uuid",
    ]
    assert accepted.json["ignored_columns"] == []
    link = accepted.json["links"]["self"]
    read = gateway.get(link, gateway.server).json
    assert without_token(read) == without_token(accepted.json)
    gateway.work()
    done = gateway.get(link, gateway.server).json
    assert (done["state"], done["ignored_fields"]) == ("done", accepted.json["ignored_fields"])
    listed = gateway.get("submissions?limit=1", gateway.server).json["submissions"][0]
    assert listed["ignored_fields"] == accepted.json["ignored_fields"]


def test_a_request_without_such_members_has_an_empty_list(gateway):
    accepted = gateway.post("enrollment", gateway.server, json=ask(gateway))

    assert accepted.json["ignored_fields"] == []
    read = gateway.get(accepted.json["links"]["self"], gateway.server).json
    assert without_token(read) == without_token(accepted.json)


def test_requests_with_and_without_them_are_stored_together(gateway):
    bodies = [ask(gateway), ask(gateway, note="x"), ask(gateway, **{"a\t\n": 1, "ü" * 300: 2})]
    calls = [gateway.asking("POST", "enrollment", gateway.server, json=body) for body in bodies]
    with calls[0] as one, calls[1] as two, calls[2] as three:
        answers = [it.result() for it in (one, two, three)]
    stored = [gateway.get(one.json["links"]["self"], gateway.server).json for one in answers]

    assert [one["ignored_fields"] for one in stored] == [
        [],
        ["note"],
        ["a\ufffd\ufffd", "ü" * 99 + "…"],
    ]


def test_a_form_is_treated_alike(gateway):
    fields = ask(gateway, note="x", csrfmiddlewaretoken="t")

    assert send_form(gateway, fields).json["ignored_fields"] == ["note", "csrfmiddlewaretoken"]
    refused = send_form(gateway, ask(gateway, mod="verified"))
    assert (refused.status_code, refused.json["errors"][0]["expected"]) == (400, "mode")


COURSE = {
    "course_name": "Geo",
    "enrollment_start": None,
    "enrollment_end": None,
    "course_start": None,
    "course_end": None,
    "invite_only": False,
    "course_modes": [],
    "pacing_type": "Self Paced",
}


def test_members_of_course_details_are_named_too(gateway):
    """As clients send them: mobile apps an opt-in, others the object that a read returned."""
    course_id = gateway.course(AUDIT)
    bodies = [
        {"course_id": course_id, "email_opt_in": "ann@example.org"},
        {"course_id": course_id, **COURSE},
    ]

    answers = [
        gateway.post(
            "enrollment", gateway.server, json={"user": fresh("ann"), "course_details": details}
        )
        for details in bodies
    ]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert [answer.json["ignored_fields"] for answer in answers] == [
        [],
        [f"course_details.{name}" for name in COURSE],
    ]


@pytest.mark.parametrize(
    ("member", "value", "meant"),
    [
        ("is_active", False, "is_active"),
        ("mode", "verified", "mode"),
        ("status", "inactive", "is_active"),
        ("user", "ben", "user"),
    ],
)
def test_a_member_in_course_details_that_belongs_beside_it_is_refused(
    gateway, member, value, meant
):
    details = {"course_id": gateway.course(AUDIT, VERIFIED), member: value}

    refused = gateway.post(
        "enrollment", gateway.server, json={"user": fresh("ann"), "course_details": details}
    )

    assert refused.status_code == 400
    (error,) = refused.json["errors"]
    assert (error["pointer"], error["rule"]) == (f"/course_details/{member}", "unknown_member")
    assert (error["value"], error["expected"]) == (value, meant)


@pytest.mark.parametrize("member", sorted(CLIENT_MEMBERS))
def test_what_clients_of_open_edx_send_is_accepted(gateway, member):
    body = ask(gateway, **{member: None})

    answer = gateway.post("enrollment", gateway.server, json=body)

    assert (answer.status_code, answer.json["ignored_fields"]) == (202, [member])


@pytest.mark.parametrize(
    ("member", "meant"),
    [
        ("mod", "mode"),
        ("isactive", "is_active"),
        ("status", "is_active"),
        ("active", "is_active"),
        ("enrolled", "is_active"),
        ("usr", "user"),
        ("enrolment_attributes", "enrollment_attributes"),
    ],
)
def test_a_member_that_looks_like_one_of_ours_is_refused(gateway, member, meant):
    body = ask(gateway, **{member: "verified"})

    refused = gateway.post("enrollment", gateway.server, json=body)

    assert (refused.status_code, refused.json["code"]) == (400, "invalid_row")
    assert refused.json["message"] == (
        f"{member}: 'verified' is not read: its name is not known, but looks like {meant}; "
        f"rename it to {meant}, or leave it out."
    )
    (error,) = refused.json["errors"]
    assert (error["pointer"], error["rule"], error["expected"]) == (
        f"/{member}",
        "unknown_member",
        meant,
    )
    assert gateway.get(f"enrollment/{body['user']},{body['course_id']}", gateway.server).text == ""


def test_the_message_of_open_edx_comes_first_and_the_misspelt_member_beside_it(gateway):
    refused = gateway.post(
        "enrollment", gateway.server, json={"user": "ann", "corse_id": gateway.course(AUDIT)}
    )

    assert refused.json["message"] == "Course ID must be specified to create a new enrollment."
    assert [one["field"] for one in refused.json["errors"]] == ["course_id", "corse_id"]
