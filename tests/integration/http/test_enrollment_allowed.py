"""enrollment_allowed/: invitations in the form of Open edX."""

from urllib.parse import urlencode

import pytest

from tests.support.gateway import AUDIT, ahead, fresh

PATH = "enrollment_allowed/"
MISSING = "Please provide a value for 'email' and 'course_id' in the request data."
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=xx"}


def multipart(**fields):
    parts = (
        f'--xx\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in fields.items()
    )
    return "".join(parts) + "--xx--\r\n"


@pytest.fixture
def body():
    return {"email": f"{fresh('g')}@example.org", "course_id": f"course-v1:Uni+{fresh('C')}+1"}


def create(gateway, body, who=None, **more):
    return gateway.post(PATH, who or gateway.staff, json=body, **more)


def listed(gateway, email, who=None):
    query = urlencode({"email": email})
    return gateway.get(f"{PATH}?{query}", who or gateway.staff).json


@pytest.mark.parametrize("auto_enroll", [None, True, False])
@pytest.mark.parametrize("path", [PATH, PATH.rstrip("/")])
def test_what_is_created_is_listed(gateway, body, auto_enroll, path):
    sent = body if auto_enroll is None else {**body, "auto_enroll": auto_enroll}
    made = gateway.post(path, gateway.staff, json={**sent, "force_enrollment": True})
    expected = {**body, "auto_enroll": bool(auto_enroll), "user": None}
    assert made.status_code == 201
    assert made.headers["content-type"] == "application/json"
    assert {**made.json, "created": None} == {**expected, "created": None}
    assert list(made.json) == ["email", "course_id", "auto_enroll", "user", "created"]
    assert made.json["created"].endswith("Z")
    assert listed(gateway, body["email"].upper()) == [made.json]
    invitation = gateway.get(f"invitations/{body['course_id']}/{body['email']}", gateway.admin)
    assert invitation.json["auto_enroll"] is bool(auto_enroll)


@pytest.mark.parametrize("word", ["true", "True", "false"])
@pytest.mark.parametrize("form", ["urlencoded", "multipart"])
def test_forms_create_and_delete(gateway, body, form, word):
    encode, headers = (urlencode, FORM) if form == "urlencoded" else (None, MULTIPART)

    def encoded(**fields):
        return encode(fields) if encode else multipart(**fields)

    sent = encoded(**body, auto_enroll=word)
    made = gateway.post(PATH, gateway.staff, body=sent, headers=headers)
    assert (made.status_code, made.json["auto_enroll"]) == (201, word.lower() == "true")
    gone = gateway.call("DELETE", PATH, gateway.staff, body=encoded(**body), headers=headers)
    assert (gone.status_code, gone.content) == (204, b"")
    assert listed(gateway, body["email"]) == []


def test_what_exists_is_409(gateway, body):
    first = create(gateway, body)
    again = create(gateway, {**body, "auto_enroll": True})
    text = (
        f"An enrollment allowed with email {body['email']} and course {body['course_id']} "
        "already exists."
    )
    assert (again.status_code, again.json["message"]) == (409, text)
    assert again.headers["content-type"] == "application/json"
    assert listed(gateway, body["email"]) == [first.json]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("missing", ["email", "course_id", "both"])
def test_without_email_or_course_it_is_400(gateway, body, method, missing):
    for value in (None, ""):
        names = body if missing == "both" else (missing,)
        sent = {**body, **dict.fromkeys(names, value)}
        for more in ({"json": sent}, {"json": {k: v for k, v in sent.items() if v}}):
            answer = gateway.call(method, PATH, gateway.staff, **more)
            assert (answer.status_code, answer.json["message"]) == (400, MISSING)
            assert answer.headers["content-type"] == "application/json"
    assert gateway.call(method, PATH, gateway.staff).json["message"] == MISSING


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("email", "no address", "email"),
        ("email", 7, "type"),
        ("course_id", "no key", "course_key"),
        ("course_id", ["a/b/c"], "type"),
    ],
)
def test_an_email_or_a_course_that_is_none_is_400(gateway, body, method, name, value, rule):
    answer = gateway.call(method, PATH, gateway.staff, json={**body, name: value})
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_body")
    assert [(error["field"], error["rule"]) for error in answer.json["errors"]] == [(name, rule)]


def test_auto_enroll_must_be_a_flag(gateway, body):
    answer = create(gateway, {**body, "auto_enroll": "perhaps"})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "auto_enroll")


def test_what_is_deleted_is_gone_and_then_404(gateway, body):
    create(gateway, body)
    other = gateway.call("DELETE", PATH, gateway.staff, json={**body, "email": "x@example.org"})
    text = (
        f"An enrollment allowed with email x@example.org and course {body['course_id']} "
        "doesn't exists."
    )
    assert (other.status_code, other.json["message"]) == (404, text)
    gone = gateway.call("DELETE", PATH, gateway.staff, json=body)
    assert (gone.status_code, gone.content) == (204, b"")
    assert "content-type" not in gone.headers
    assert gateway.call("DELETE", PATH, gateway.staff, json=body).status_code == 404


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_only_staff_may(gateway, body, method):
    more = {} if method == "GET" else {"json": body}
    for who in (gateway.learner("ann"), gateway.edx, gateway.key("enroll")):
        answer = gateway.call(method, PATH, who, **more)
        assert (answer.status_code, answer.json["code"]) == (403, "not_permitted")
        assert answer.headers["content-type"] == "application/json"
    assert gateway.call(method, PATH, **more).status_code == 401
    assert listed(gateway, body["email"]) == []


def test_without_an_email_the_caller_s_own_are_listed(gateway, body):
    user = gateway.person(email=body["email"])
    create(gateway, body)
    own = gateway.get(PATH, gateway.learner(user, staff=True))
    assert [one["course_id"] for one in own.json] == [body["course_id"]]
    for who in (gateway.staff, gateway.admin):
        assert gateway.get(PATH, who).json == []


def test_an_email_that_is_none_matches_nothing_and_a_raw_plus_is_a_plus(gateway, body):
    body["email"] = f"a+{body['email']}"
    create(gateway, body)
    for email in (body["email"], body["email"].replace("+", "%2B")):
        assert len(gateway.get(f"{PATH}?email={email}", gateway.staff).json) == 1
    for email in ("", "nonsense", "%00"):
        answer = gateway.get(f"{PATH}?email={email}", gateway.staff)
        assert (answer.status_code, answer.json) == (200, [])


def test_who_is_allowed_may_enroll_and_is_named(gateway, body):
    closed = gateway.course(AUDIT, invite_only=True, enrollment_start=ahead(days=1))
    user = gateway.person(email=body["email"])
    create(gateway, {**body, "course_id": closed})
    assert gateway.enroll(gateway.learner(user), closed).status_code == 200
    (one,) = listed(gateway, body["email"])
    assert one["user"] == user


def test_a_repeated_key_creates_once(gateway, body):
    headers = {"Idempotency-Key": fresh("key")}
    first = create(gateway, body, headers=headers)
    again = create(gateway, body, headers=headers)
    assert (again.status_code, again.json) == (201, first.json)
    assert again.headers["idempotency-replayed"] == "true"
    other = create(gateway, {**body, "auto_enroll": True}, headers=headers)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")
    refused = {"Idempotency-Key": fresh("key")}
    assert create(gateway, body, headers=refused).status_code == 409
    gateway.call("DELETE", PATH, gateway.staff, json=body)
    assert create(gateway, body, headers=refused).status_code == 201
