"""Idempotency-Key where many courses or learners are saved at once."""

import pytest

from tests.support.gateway import AUDIT, fresh


def key():
    return {"Idempotency-Key": fresh("key-")}


def course(**members):
    return {"course_id": f"course-v1:Uni+{fresh('C')}+2026", "course_modes": [], **members}


def learner(**members):
    return {"username": fresh("ann"), **members}


@pytest.mark.parametrize(("path", "make"), [("courses", course), ("learners", learner)])
def test_the_same_again_is_answered_the_same_and_not_done_again(gateway, path, make):
    keyed, body = key(), [make()]
    name = "course_name" if path == "courses" else "email"
    id_ = body[0].get("course_id") or body[0]["username"]
    first = gateway.post(path, gateway.admin, json=body, headers=keyed)
    assert (first.status_code, first.json) == (200, {"saved": 1})
    assert "idempotency-replayed" not in first.headers
    changed = {name: f"{fresh('new')}@example.org"}
    assert gateway.call("PUT", f"{path}/{id_}", gateway.admin, json=changed).status_code == 200
    again = gateway.post(path, gateway.admin, json=body, headers=keyed)
    assert (again.status_code, again.json) == (200, first.json)
    assert again.headers["idempotency-replayed"] == "true"
    assert gateway.get(f"{path}/{id_}", gateway.admin).json[name] == changed[name]


@pytest.mark.parametrize(("path", "make"), [("courses", course), ("learners", learner)])
def test_another_body_under_the_key_is_422_and_nothing_of_it_is_kept(gateway, path, make):
    keyed, other = key(), make()
    assert gateway.post(path, gateway.admin, json=[make()], headers=keyed).status_code == 200
    answer = gateway.post(path, gateway.admin, json=[other], headers=keyed)
    assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")
    id_ = other.get("course_id") or other["username"]
    assert gateway.get(f"{path}/{id_}", gateway.admin).status_code == 404


def test_a_key_of_something_refused_is_free_again(gateway):
    taken = f"{fresh('ann')}@example.org"
    assert gateway.post("learners", gateway.admin, json=[learner(email=taken)]).status_code == 200
    keyed = key()
    body = [learner(email=taken)]
    assert gateway.post("learners", gateway.admin, json=body, headers=keyed).status_code == 409
    assert gateway.post("learners", gateway.admin, json=body, headers=keyed).status_code == 409
    good = gateway.post("learners", gateway.admin, json=[learner()], headers=keyed)
    assert good.status_code == 200
    assert "idempotency-replayed" not in good.headers


def test_a_key_is_of_its_caller_and_one_that_cannot_be_kept_is_400(gateway):
    keyed = key()
    for who in (gateway.admin, gateway.key("admin", name=fresh("other"))):
        assert gateway.post("learners", who, json=[learner()], headers=keyed).status_code == 200
    answer = gateway.post("learners", gateway.admin, json=[], headers={"Idempotency-Key": "ä"})
    assert (answer.status_code, answer.json["code"]) == (400, "idempotency_key_invalid")


def test_a_key_that_saved_courses_enrolls_nobody(gateway):
    keyed, course_id = key(), gateway.course(AUDIT)
    assert gateway.post("courses", gateway.admin, json=[course()], headers=keyed).status_code == 200
    body = {"user": fresh("ann"), "course_id": course_id}
    single = gateway.post("enrollment", gateway.admin, json=body, headers=keyed)
    headers = {"Content-Type": "text/csv", **keyed}
    text = f"user,course_id\nann,{course_id}\n"
    bulk = gateway.post("submissions", gateway.admin, body=text, headers=headers)
    for answer in (single, bulk):
        assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")


def test_a_patch_is_made_once_under_a_key(gateway):
    keyed, one = key(), course()
    gateway.post("courses", gateway.admin, json=[{**one, "capacity": 1}])
    change = {"course_id": one["course_id"], "capacity": 2}

    first = gateway.call("PATCH", "courses", gateway.admin, json=[change], headers=keyed)
    gateway.post("courses", gateway.admin, json=[{**one, "capacity": 3}])
    again = gateway.call("PATCH", "courses", gateway.admin, json=[change], headers=keyed)

    assert first.json["changed"][0]["after"] == {"capacity": 2}
    assert (again.json, again.headers["idempotency-replayed"]) == ({"saved": 1}, "true")
    assert gateway.get(f"courses/{one['course_id']}", gateway.admin).json["capacity"] == 3
