"""Courses, learners and invitations through the whole application, by who may keep them."""

import json
from urllib.parse import unquote

import pytest

from enrollment.domain.model import Mode
from tests.support.gateway import AUDIT, ago, fresh

BAD_OBJECTS = [
    b"",
    b"{",
    b"[]",
    b"1",
    b"null",
    b'{"a": NaN}',
    b'{"x": 1}',
    b'{"invite_only": "yes", "invite_only": 1}',
    b'{"course_name": "\\u0000"}',
]


def test_course_details_are_for_everybody_in_upstream_s_form(gateway):
    course_id = gateway.course(
        Mode(slug="audit", name="Audit", sku="S1"), name="Algebra", capacity=5
    )
    answer = gateway.get(f"course/{course_id}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert answer.headers["vary"] == "Accept"
    assert (answer.json["course_id"], answer.json["course_modes"][0]["sku"]) == (course_id, "S1")
    same = gateway.get(f"course/{course_id}", headers={"If-None-Match": answer.headers["etag"]})
    assert (same.status_code, same.content, "content-type" in same.headers) == (304, b"", False)


def test_expired_modes_are_shown_to_who_asks_for_them(gateway):
    course_id = gateway.course(AUDIT, Mode(slug="verified", expires_at=ago(days=1)))
    for path in (f"course/{course_id}", f"course/{course_id}/"):
        modes = gateway.get(path, params={"include_expired": "True"}).json["course_modes"]
        assert [mode["slug"] for mode in modes] == ["audit", "verified"]


@pytest.mark.parametrize(
    "course_id",
    [
        "some/fake/course",
        "course-v1:No+Such+One",
        "nonsense",
        "a+b+c",
        "%00",
        "a/b/c%00",
        "x" * 400,
    ],
)
def test_an_unknown_course_is_400_in_upstream_s_words(gateway, course_id):
    for _ in range(2):
        answer = gateway.get(f"course/{course_id}")
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/json"
        assert answer.json["message"] == f"No course found for course ID '{unquote(course_id)}'"


def test_a_course_is_kept_changed_and_let_go_by_its_keeper(gateway):
    keeper, course_id = gateway.key("courses"), f"course-v1:Uni+{fresh('K')}+2026"
    path = f"courses/{course_id}"
    made = gateway.call("PUT", path, keeper, json={"course_name": "One", "capacity": 3})
    assert (made.status_code, made.json["seats_taken"]) == (201, 0)
    assert gateway.call("PUT", path, keeper, json=made.json).status_code == 200
    patched = gateway.call("PATCH", path, keeper, json={"capacity": None})
    assert (patched.json["course_name"], patched.json["capacity"]) == ("One", None)
    assert gateway.get(path, keeper).json == patched.json
    gateway.enroll(gateway.server, course_id, fresh("ann"))
    assert gateway.get(path, keeper).json["seats_taken"] == 1
    kept = gateway.call("DELETE", path, keeper)
    assert (kept.status_code, kept.json["code"]) == (409, "course_in_use")


def test_many_courses_are_taken_all_or_none(gateway):
    ids = [f"Uni/{fresh('K')}/2026" for _ in range(3)]
    lines = "".join(json.dumps({"course_id": course_id}) + "\n" for course_id in ids)
    headers = {"Content-Type": "application/x-ndjson"}
    broken = gateway.post(
        "courses", gateway.admin, body=lines + '{"course_id": 1}', headers=headers
    )
    assert (broken.status_code, broken.json["errors"][0]["line"]) == (400, 4)
    assert gateway.get(f"courses/{ids[0]}", gateway.admin).status_code == 404
    taken = gateway.post("courses", gateway.admin, body=lines, headers=headers)
    assert (taken.status_code, taken.json) == (200, {"saved": 3})
    listed, cursor = [], ""
    while True:
        body = gateway.get(f"courses?limit=2{cursor}", gateway.admin).json
        listed += [course["course_id"] for course in body["courses"]]
        if body["next"] is None:
            break
        cursor = f"&cursor={body['next']}"
    assert set(ids) <= set(listed)
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (path, body)
        for path in ("courses/a/b/c", "learners/ann", "invitations/a/b/c/ann@example.org")
        for body in BAD_OBJECTS
        if body or not path.startswith("invitations")
    ],
)
def test_an_object_that_is_no_good_is_400_with_what_is_wrong(small, path, body):
    headers = {"Content-Type": "application/json"}
    answer = small.call("PUT", path, small.admin, body=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["errors"][0]["rule"]
    assert small.get(path, small.admin).status_code == 404


@pytest.mark.parametrize("path", ["courses", "learners"])
def test_another_media_type_is_415_and_too_much_is_413(small, path):
    headers = {"Content-Type": "text/csv"}
    assert small.post(path, small.admin, body="a,b", headers=headers).status_code == 415
    lines = "{}\n" * 10_001
    ndjson = {"Content-Type": "application/x-ndjson"}
    answer = small.post(path, small.admin, body=lines, headers=ndjson)
    assert answer.status_code in {400, 413}
    long_ = small.post(path, small.admin, body=" " * 16_000_001, headers=ndjson)
    assert long_.status_code == 413


@pytest.mark.parametrize(
    "course_id", ["nonsense", "a+b+c", "course-v1:a+b", "%00", "a/b/c/d", "a/b/c%0A"]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_an_address_that_names_no_course_is_400(small, method, course_id):
    body = {} if method in {"GET", "DELETE"} else {"json": {}}
    answer = small.call(method, f"courses/{course_id}", small.admin, **body)
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_course_id")


def test_a_learner_is_kept_with_an_email_of_his_own(gateway):
    user, email = fresh("Ann Ä."), fresh("ann") + "@example.org"
    made = gateway.call("PUT", f"learners/{user}", gateway.admin, json={"email": email.upper()})
    assert (made.status_code, made.json["email"]) == (201, email)
    assert gateway.get(f"learners/{user}", gateway.key("read")).json == made.json
    taken = gateway.call("PUT", f"learners/{fresh('bob')}", gateway.admin, json={"email": email})
    assert (taken.status_code, taken.json["code"]) == (409, "email_taken")
    assert gateway.call("DELETE", f"learners/{user}", gateway.admin).status_code == 204
    assert gateway.get(f"learners/{user}", gateway.admin).json["code"] == "learner_not_found"


@pytest.mark.parametrize("name", ["%00", "a,b", "x" * 256, "a%0Ab", "%F0%9F%98%80"])
def test_an_address_that_names_no_learner_is_400(gateway, name):
    answer = gateway.get(f"learners/{name}", gateway.admin)
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_username")


def test_an_invitation_is_given_used_and_shown_as_used(gateway):
    course_id, email = gateway.course(AUDIT, invite_only=True), fresh("ann") + "@example.org"
    path, user = f"invitations/{course_id}/{email}", gateway.person(email=email)
    made = gateway.call("PUT", path, gateway.server)
    assert (made.status_code, made.json["used_by"]) == (201, None)
    assert gateway.enroll(gateway.server, course_id, user).status_code == 200
    assert gateway.get(path, gateway.server).json["used_by"] == user
    assert gateway.call("DELETE", path, gateway.server).status_code == 204
    assert gateway.get(path, gateway.server).status_code == 404


@pytest.mark.parametrize(
    "rest",
    ["a/b/c", "a/b/c/no-email", "nonsense/ann@example.org", "a/b/c/%00@x.org", "ann@example.org"],
)
def test_an_address_that_names_no_invitation_is_400(gateway, rest):
    answer = gateway.get(f"invitations/{rest}", gateway.admin)
    assert answer.status_code == 400
    assert answer.json["code"] in {"invalid_course_id", "invalid_email"}


def test_a_new_capacity_counts_for_the_next_request(gateway):
    course_id = gateway.course(AUDIT, capacity=1)
    path = f"courses/{course_id}"
    gateway.enroll(gateway.server, course_id, fresh("ann"))
    assert gateway.enroll(gateway.server, course_id, fresh("bob")).json["code"] == "course_full"
    gateway.call("PATCH", path, gateway.admin, json={"capacity": 2})
    assert gateway.enroll(gateway.server, course_id, fresh("bob")).status_code == 200
    lowered = gateway.call("PATCH", path, gateway.admin, json={"capacity": 0})
    assert (lowered.json["capacity"], lowered.json["seats_taken"]) == (0, 2)
    assert gateway.enroll(gateway.server, course_id, fresh("cem")).json["code"] == "course_full"
