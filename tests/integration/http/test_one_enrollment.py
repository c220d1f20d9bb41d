"""POST /enrollment: taken in at once with 202, or answered for who waits."""

from contextlib import ExitStack

import pytest

from tests.support.gateway import AUDIT, VERIFIED, fresh

PATH = "/api/enrollment/v1/submissions"


def asked(course_id, user, **more):
    return {"user": user, "course_details": {"course_id": course_id}, **more}


def test_a_request_is_taken_in_with_202_and_the_place_of_its_submission(gateway):
    course_id = gateway.course(AUDIT)
    answer = gateway.post("enrollment", gateway.server, json=asked(course_id, fresh("ann")))
    shown = answer.json
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["location"] == f"{PATH}/{shown['submission_id']}"
    assert answer.headers["retry-after"] == "1"
    assert "preference-applied" not in answer.headers
    assert (shown["kind"], shown["state"], shown["result"]) == ("single", "queued", None)
    assert (shown["counts"]["total"], shown["counts"]["pending"]) == (1, 1)
    assert set(shown["links"]) >= {"self", "outcomes", "cancel"}
    assert "outcome" not in shown


def test_what_was_taken_in_is_found_done_at_its_place(gateway):
    course_id, user = gateway.course(AUDIT), fresh("ann")
    accepted = gateway.post("enrollment", gateway.server, json=asked(course_id, user))
    gateway.work()
    status = gateway.get(accepted.headers["location"], gateway.server)
    shown = status.json
    assert (shown["state"], shown["result"], shown["progress"]) == ("done", "succeeded", 1.0)
    assert shown["outcome"]["outcome"] == "enrolled"
    assert shown["enrollment"]["user"] == user
    assert shown["enrollment"]["course_details"]["course_id"] == course_id
    assert shown["received_at"] <= shown["started_at"] <= shown["finished_at"]
    assert "retry-after" not in status.headers


def test_who_waits_gets_the_enrollment_object(gateway):
    course_id = gateway.course(AUDIT, VERIFIED, name="Algebra")
    user = fresh("ann")
    answer = gateway.enroll(gateway.server, course_id, user, mode="verified")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["preference-applied"] == "wait=20"
    shown = answer.json
    assert list(shown) == ["created", "mode", "is_active", "course_details", "user"]
    assert (shown["mode"], shown["is_active"], shown["user"]) == ("verified", True, user)
    assert shown["created"].endswith("Z")
    assert shown["course_details"]["course_name"] == "Algebra"
    modes = shown["course_details"]["course_modes"]
    assert [mode["slug"] for mode in modes] == ["audit", "verified"]
    assert modes[0]["suggested_prices"] == ""


@pytest.mark.parametrize("prefer", ["respond-async", "RESPOND-ASYNC", "foo, respond-async;x=1"])
def test_respond_async_is_answered_at_once_and_said_so(small, prefer):
    body = asked(small.course(AUDIT), fresh("ann"))
    answer = small.post("enrollment", small.server, json=body, headers={"Prefer": prefer})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "respond-async"


@pytest.mark.parametrize("prefer", ["wait=soon", "wait", "wait=-1", "wait=1.5", "", "=", ";;,,"])
def test_a_preference_that_is_not_understood_is_ignored(small, prefer):
    body = asked(small.course(AUDIT), fresh("ann"))
    answer = small.post("enrollment", small.server, json=body, headers={"Prefer": prefer})
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=5", "wait=5"),
        ('wait="5"', "wait=5"),
        ("WAIT = 5 ; a=b", "wait=5"),
        ("wait=999", "wait=60"),
    ],
)
def test_a_wait_is_read_as_the_rfc_writes_it(small, prefer, applied):
    answer = small.enroll(
        small.server, small.course(AUDIT), fresh("ann"), headers={"Prefer": prefer}
    )
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == applied


@pytest.mark.parametrize("prefer", ["wait=0", "wait=1"])
def test_who_waited_in_vain_gets_202(small, prefer):
    body = asked(small.course(AUDIT), fresh("ann"))
    answer = small.post("enrollment", small.server, json=body, headers={"Prefer": prefer})
    assert answer.status_code == 202
    assert answer.json["state"] == "queued"
    assert answer.headers["location"]


def test_many_wait_and_each_hears_its_own_outcome(gateway):
    course_id, users = gateway.course(AUDIT), [fresh("ann") for _ in range(5)]
    with ExitStack() as under_way:
        futures = [
            under_way.enter_context(
                gateway.asking(
                    "POST",
                    "enrollment",
                    gateway.server,
                    json=asked(course_id, user),
                    headers={"Prefer": "wait=20"},
                )
            )
            for user in users
        ]
        while not all(future.done() for future in futures):
            gateway.work()
    assert [future.result().json["user"] for future in futures] == users


def test_a_site_may_wait_by_default_so_that_unmodified_clients_work(start):
    gateway = start(default_wait="20")
    body = asked(gateway.course(AUDIT), "ann")
    answer = gateway.answered("POST", "enrollment", gateway.edx, json=body)
    assert (answer.status_code, answer.json["user"]) == (200, "ann")
    assert "preference-applied" not in answer.headers
    now = gateway.post("enrollment", gateway.edx, json=body, headers={"Prefer": "respond-async"})
    assert (now.status_code, now.headers["preference-applied"]) == (202, "respond-async")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/JSON",
        "application/json; charset=utf-8",
        "Application/Json;charset=UTF-8",
    ],
)
@pytest.mark.parametrize("path", ["enrollment", "enrollment/"])
def test_clients_spell_the_media_type_and_the_path_as_they_like(small, content_type, path):
    body = f'{{"user": "ann", "course_details": {{"course_id": "{small.course(AUDIT)}"}}}}'
    headers = {"Content-Type": content_type}
    assert small.post(path, small.server, body=body, headers=headers).status_code == 202


CLIENT_EXTRAS = {
    "email_opt_in": True,
    "enterprise_uuid": "None",
    "linked_enterprise_customer": "0b1d2b6e-6f0e-4a39-9a2e-2f8b8c1f8c4e",
    "enterprise_course_consent": True,
    "cohort": None,
    "mode": None,
    "is_active": None,
    "what": {"is": ["this"]},
}


def test_keys_that_clients_send_beside_ours_are_ignored(gateway):
    course_id, user = gateway.course(AUDIT), fresh("ann")
    details = {"course_id": course_id, "email_opt_in": "ann@example.org", "more": [1]}
    body = {"user": user, "course_details": details, **CLIENT_EXTRAS}
    headers = {"Prefer": "wait=20"}
    answer = gateway.answered("POST", "enrollment", gateway.server, json=body, headers=headers)
    assert (answer.status_code, answer.json["is_active"]) == (200, True)


def test_the_request_s_id_comes_back_with_the_answer(small):
    body = asked(small.course(AUDIT), fresh("ann"))
    headers = {"X-Request-ID": "client.17/a"}
    answer = small.post("enrollment", small.server, json=body, headers=headers)
    assert answer.headers["x-request-id"] == "client.17/a"


def test_an_unknown_course_keeps_the_message_of_open_edx_and_ours_names_the_nearest(gateway):
    known = gateway.course(AUDIT)
    misspelt = known[:-1] + ("x" if known[-1] != "x" else "y")

    refused = gateway.enroll(gateway.server, misspelt, fresh("ann"), headers={"Prefer": "wait=20"})

    assert refused.status_code == 400
    assert refused.json["message"] == f"No course '{misspelt}' found for enrollment"
    near = refused.json["outcome"]["nearest"]
    assert refused.json["outcome"]["message"] == (
        f"There is no course {misspelt}: did you mean {near}?"
    )
