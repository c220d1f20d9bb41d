"""Reads and helper calls exactly as published clients of Open edX make them."""

from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.support.openedx_client import (
    ANONYMOUS,
    BULK,
    KEY,
    OpenEdxClient,
    as_learner,
    email_of,
    ok,
)

DETAILS = [
    "course_id",
    "course_name",
    "enrollment_start",
    "enrollment_end",
    "course_start",
    "course_end",
    "invite_only",
    "course_modes",
    "pacing_type",
]
MODE = {
    "slug": "verified",
    "name": "Verified",
    "min_price": 149,
    "suggested_prices": "",
    "currency": "usd",
    "expiration_datetime": None,
    "description": None,
    "sku": "V-1",
    "bulk_sku": None,
}


def read(client: OpenEdxClient, path: str, **headers: str):
    return client.send_raw("GET", f"/api/enrollment/v1{path}", headers={**KEY, **headers})


@pytest.mark.parametrize("quoted", [False, True], ids=["raw", "percent-encoded"])
@pytest.mark.parametrize("end", ["", "/"])
@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/JSON"}], ids=["", "typed"])
def test_one_enrollment_is_read_by_ids_in_any_form(edx, quoted, end, headers):
    course, user = edx.course(MODE), edx.learner()
    edx.enrolled(course, user, mode="verified")
    ids = f"{user},{course}"
    shown = ok(read(edx, f"/enrollment/{quote(ids, safe='') if quoted else ids}{end}", **headers))
    assert shown["user"] == user
    assert set(shown["course_details"]) == set(DETAILS)
    assert shown["course_details"]["course_modes"] == [MODE]


@pytest.mark.parametrize("unknown", ["neither", "learner", "course"])
def test_where_there_is_no_enrollment_it_is_200_without_body_and_type(edx, unknown):
    user = "a_made_up_username" if unknown == "learner" else edx.learner()
    course = "course-v1:made+up+course" if unknown == "course" else edx.course()
    answer = read(edx, f"/enrollment/{user},{course}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert "content-type" not in answer.headers


def test_a_list_is_not_paged_whatever_is_asked(edx):
    user, courses = edx.learner(), [edx.course() for _ in range(3)]
    for course in courses:
        edx.enrolled(course, user)
    assert len(ok(read(edx, f"/enrollment?user={user}&page_size=1"))) == 3


@pytest.mark.parametrize("path", ["/course/{}", "/course/{}/", "/course/{}/?include_expired=1"])
def test_a_course_is_read_without_credentials(edx, path):
    course = edx.course(MODE)
    answer = edx.send_raw("GET", f"/api/enrollment/v1{path.format(course)}")
    shown = ok(answer)
    assert set(shown) == set(DETAILS)
    assert shown["pacing_type"] in {"Instructor Paced", "Self Paced"}
    assert (shown["course_id"], shown["course_modes"]) == (course, [MODE])


def test_pages_are_followed_by_the_cursor_alone_or_by_the_link_with_ones_own_filters(edx):
    course, users = edx.course("audit"), [edx.learner() for _ in range(5)]
    for user in users:
        edx.enrolled(course, user)
    mine = {"course_id": course, "page_size": "2"}
    for follow in ("cursor", "link"):
        found, page = [], ok(edx.get("/enrollments", KEY, **mine))
        while True:
            found += [row["user"] for row in page["results"]]
            if page["next"] is None:
                break
            if follow == "cursor":
                (cursor,) = parse_qs(urlsplit(page["next"]).query)["cursor"]
                page = ok(edx.get("/enrollments", KEY, **mine, cursor=cursor))
            else:
                doubled = f"{page['next']}&course_id={quote(course)}&page_size=2"
                page = ok(edx.send_raw("GET", doubled, headers=KEY))
        assert sorted(found) == sorted(users)


def test_roles_say_who_may_grade(edx):
    course, user = edx.course(), edx.learner()
    edx.give_role(course, user)
    answer = ok(edx.send_raw("GET", "/api/enrollment/v1/roles/", headers=dict(as_learner(user))))
    assert [(role["course_id"], role["role"]) for role in answer["roles"]] == [(course, "staff")]
    assert answer["is_staff"] is False


def test_an_account_is_found_by_its_address_before_each_enrollment(edx):
    user = edx.learner()
    (found,) = ok(edx.get("/api/user/v1/accounts", KEY, email=email_of(user)))
    assert found["username"] == user
    missing = edx.get("/api/user/v1/accounts", KEY, email=f"no-{email_of(user)}")
    assert missing.status_code == 404


@pytest.mark.parametrize("path", ["/api/courses/v1/courses/", "/api/courses/v1/courses"])
def test_courses_are_listed_by_numbered_pages(edx, path):
    edx.course()
    assert edx.get(path, ANONYMOUS).status_code == 401
    shown = ok(edx.get(path, KEY, page_size=2))
    assert set(shown["pagination"]) >= {"next", "previous", "count", "num_pages"}
    assert shown["pagination"]["count"] >= len(shown["results"]) == 2
    assert "page=2" in shown["pagination"]["next"]
    first = shown["results"][0]
    assert first["id"] == first["course_id"]
    second = ok(edx.send_raw("GET", shown["pagination"]["next"], headers=KEY))
    assert second["results"][0]["id"] not in [one["id"] for one in shown["results"]]


@pytest.mark.parametrize("end", ["", "/"])
def test_a_list_of_addresses_is_enrolled_and_withdrawn(edx, end):
    course, user = edx.course("audit"), edx.learner()
    body = {
        "auto_enroll": True,
        "email_students": True,
        "courses": course,
        "identifiers": f"{email_of(user)},new-{email_of(user)},broken@",
    }
    caller = dict(edx.staff())
    for action, active in (("enroll", True), ("unenroll", False)):
        sent = {**body, "action": action}
        shown = ok(edx.send_raw("POST", f"{BULK}{end}", json=sent, headers=caller))
        assert (shown["action"], shown["auto_enroll"], shown["email_students"]) == (
            action,
            True,
            True,
        )
        known, new, broken = shown["courses"][course]["results"]
        assert known["after"]["enrollment"] is active
        assert (new["after"]["allowed"], new["after"]["user"]) == (active, False)
        assert broken == {"identifier": "broken@", "invalidIdentifier": True}
