"""Idempotency-Key: whoever is not sure asks again, and is heard once."""

import json
from urllib.parse import quote

import pytest

from tests.support.gateway import AUDIT, VERIFIED, fresh, without_token


def key():
    return {"Idempotency-Key": fresh("key-")}


def post(gateway, body, headers, who=None):
    return gateway.post("enrollment", who or gateway.server, json=body, headers=headers)


def test_the_same_again_is_the_same_submission_as_it_is_now(gateway):
    body, keyed = {"user": fresh("ann"), "course_id": gateway.course(AUDIT)}, key()
    first = post(gateway, body, keyed)
    second = post(gateway, body, keyed)
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert second.status_code == 202
    assert (second.json["submission_id"], second.json["state"]) == (
        first.json["submission_id"],
        "queued",
    )
    gateway.work()
    third = post(gateway, body, keyed)
    assert third.headers["location"] == first.headers["location"]
    assert (third.status_code, third.json["state"]) == (202, "done")
    now = gateway.get(first.headers["location"], gateway.server).json
    assert without_token(third.json) == without_token(now)
    assert "retry-after" not in third.headers


def test_who_waits_gets_the_outcome_of_the_first(gateway):
    course_id, keyed = gateway.course(AUDIT), key()
    user = fresh("ann")
    first = gateway.enroll(gateway.server, course_id, user, headers=keyed | {"Prefer": "wait=20"})
    again = gateway.enroll(gateway.server, course_id, user, headers=keyed | {"Prefer": "wait=20"})
    assert (again.status_code, again.json) == (200, first.json)
    assert again.headers["idempotency-replayed"] == "true"
    events = gateway.get(f"enrollment/{user},{course_id}/history", gateway.server).json["events"]
    assert len(events) == 1


def test_two_at_once_are_one(gateway):
    body, keyed = {"user": fresh("ann"), "course_id": gateway.course(AUDIT)}, key()
    call = ("POST", "enrollment", gateway.server)
    with (
        gateway.asking(*call, json=body, headers=keyed) as one,
        gateway.asking(*call, json=body, headers=keyed) as two,
    ):
        answers = [one.result(), two.result()]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json["submission_id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 1


OTHERS = [
    {"json": {"mode": "verified"}},
    {"query_string": "a=b"},
    {"headers": {"Content-Type": "application/json; charset=utf-8"}, "same": True},
    {"path": "enrollment/", "same": True},
]


@pytest.mark.parametrize("other", OTHERS)
def test_another_request_under_a_used_key_is_422(gateway, other):
    body = {"user": fresh("ann"), "course_id": gateway.course(AUDIT, VERIFIED)}
    keyed = key()
    post(gateway, body, keyed)
    answer = gateway.post(
        other.get("path", "enrollment"),
        gateway.server,
        json=body | other.get("json", {}),
        headers=keyed | other.get("headers", {}),
        query_string=other.get("query_string", ""),
    )
    if other.get("same"):
        assert (answer.status_code, answer.headers["idempotency-replayed"]) == (202, "true")
    else:
        assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")


def test_keys_of_different_callers_have_nothing_to_do_with_each_other(gateway):
    body, keyed = {"user": fresh("ann"), "course_id": gateway.course(AUDIT)}, key()
    one = post(gateway, body, keyed)
    two = post(gateway, body, keyed, gateway.admin)
    assert two.status_code == 202
    assert one.json["submission_id"] != two.json["submission_id"]


REFUSED = [
    (400, {"course_id": "nonsense"}),
    (404, {"user": "somebody else"}),
    (403, {"mode": "verified"}),
]


@pytest.mark.parametrize(("status", "wrong"), REFUSED)
def test_what_was_refused_at_the_gate_keeps_no_key(small, status, wrong):
    course_id, user, keyed = small.course(AUDIT), fresh("ann"), key()
    right = {"user": user, "course_id": course_id}
    who = small.learner(user)
    assert post(small, right | wrong, keyed, who).status_code == status
    after = post(small, right, keyed, who)
    assert (after.status_code, "idempotency-replayed" in after.headers) == (202, False)


@pytest.mark.parametrize("bad", ["", "x" * 256, "tab\there", "caf\xe9"])
def test_a_key_that_cannot_be_kept_is_400(small, bad):
    body = {"user": fresh("ann"), "course_id": small.course(AUDIT)}
    answer = post(small, body, {"Idempotency-Key": bad})
    assert (answer.status_code, answer.json["code"]) == (400, "idempotency_key_invalid")


@pytest.mark.parametrize("good", ["x", "x" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "~ !"])
def test_every_printable_key_is_taken(small, good):
    body = {"user": fresh("ann"), "course_id": small.course(AUDIT)}
    assert post(small, body, {"Idempotency-Key": good}).status_code == 202


def sent(gateway, content, headers, content_type="application/json", path="enrollment"):
    return gateway.post(
        path, gateway.server, body=content, headers=headers | {"Content-Type": content_type}
    )


def spelled(body):
    """The same body as other serialisers write it."""
    return [
        json.dumps(body),
        json.dumps(body, indent=2),
        json.dumps(body, sort_keys=True, separators=(",", ":")),
        json.dumps(body, ensure_ascii=True).replace("a", "\\u0061", 1),
    ]


@pytest.mark.parametrize("path", ["enrollment", "submissions"])
def test_the_same_json_in_another_spelling_is_the_same_request(gateway, path):
    body, keyed = {"user": fresh("ann"), "course_id": gateway.course(AUDIT)}, key()
    if path == "submissions":
        body = {"enrollments": [{"mode": "audit", **body}, dict(reversed(body.items()))]}
    answers = [sent(gateway, text, keyed, path=path) for text in spelled(body)]
    assert [answer.status_code for answer in answers] == [202] * 4
    assert len({answer.json["submission_id"] for answer in answers}) == 1
    assert ["idempotency-replayed" in answer.headers for answer in answers] == [False] + [True] * 3


def test_the_same_form_in_another_order_is_the_same_request(gateway):
    user, course_id, keyed = fresh("ann"), gateway.course(AUDIT), key()
    fields = [f"user={user}", f"course_id={quote(course_id)}", "is_active=true"]
    kind = "application/x-www-form-urlencoded"
    first = sent(gateway, "&".join(fields), keyed, kind)
    again = sent(gateway, "&".join(reversed(fields)), keyed, kind)
    other = sent(gateway, "&".join([*fields[:2], "is_active=false"]), keyed, kind)
    assert again.json["submission_id"] == first.json["submission_id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert other.status_code == 422


def test_lists_of_objects_in_another_spelling_are_the_same_request(gateway):
    course, keyed = {"course_id": gateway.course(AUDIT), "course_name": "A"}, key()
    texts = spelled({"courses": [course]})
    answers = [
        gateway.post(
            "courses",
            gateway.admin,
            body=text,
            headers=keyed | {"Content-Type": "application/json"},
        )
        for text in texts
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert ["idempotency-replayed" in answer.headers for answer in answers] == [False] + [True] * 3


def test_a_file_is_the_same_only_byte_by_byte(gateway):
    course_id, keyed = gateway.course(AUDIT), key()
    rows = f"user,course_id\n{fresh('ann')},{course_id}\n"
    assert sent(gateway, rows, keyed, "text/csv", "submissions").status_code == 202
    assert sent(gateway, rows + "\n", keyed, "text/csv", "submissions").status_code == 422


@pytest.mark.parametrize("path", ["enrollment", "submissions"])
def test_a_key_that_was_used_says_for_which_submission(gateway, path):
    one, keyed = {"user": fresh("ann"), "course_id": gateway.course(AUDIT)}, key()
    body = [one] if path == "submissions" else one
    first = sent(gateway, json.dumps(body), keyed, path=path)
    other = {**one, "is_active": False}
    body = [other] if path == "submissions" else other
    refused = sent(gateway, json.dumps(body), keyed, path=path)
    assert (refused.status_code, refused.json["code"]) == (422, "idempotency_key_reused")
    link = refused.json["first_submission"]
    assert link == first.json["links"]["self"]
    assert link in refused.json["message"]
    assert gateway.get(link, gateway.server).status_code == 200


def test_a_key_of_another_kind_of_request_names_no_submission(gateway):
    keyed = key()
    course = {"course_id": gateway.course(AUDIT)}
    first = gateway.post("courses", gateway.admin, json=[course], headers=keyed)
    one = {"user": fresh("ann"), **course}
    refused = gateway.post("enrollment", gateway.admin, json=one, headers=keyed)
    assert (first.status_code, refused.status_code) == (200, 422)
    assert "first_submission" not in refused.json
