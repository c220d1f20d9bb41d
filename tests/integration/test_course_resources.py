"""Courses over HTTP: put, changed, listed, and many at once."""

import json

import pytest

from enrollment.storage import course_edition, courses
from tests.support.small_gateway import KEY


@pytest.fixture
def http(course_gateway):
    return course_gateway.http


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_course_is_404(http, method):
    body = {"json": {}} if method == "PATCH" else {}

    assert http.simulate_request(method, f"/courses/{KEY}", **body).status_code == 404


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "limit=-1", "limit=99999999", "cursor=%20", "cursor=a", "cursor=_w", "cursor=AA", "cursor=%C3%A4"],
)  # fmt: skip
def test_a_page_that_cannot_be_is_400(http, query):
    response = http.simulate_get("/courses", query_string=query)

    assert (response.status_code, response.json["code"]) == (400, "invalid_parameter")


ONE, TWO = {"course_id": "course-v1:Uni+C1+1"}, {"course_id": "course-v1:Uni+C2+1", "capacity": 1}


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/json", json.dumps([ONE, TWO])),
        ("application/JSON; charset=utf-8", json.dumps({"courses": [ONE, TWO]})),
        ("application/x-ndjson", f"{json.dumps(ONE)}\n\r\n{json.dumps(TWO)}"),
    ],
)
def test_many_are_saved_at_once(sessions, http, media_type, body):
    response = http.simulate_post("/courses", body=body, headers={"Content-Type": media_type})

    assert (response.status_code, response.json) == (200, {"saved": 2})
    listed = http.simulate_get("/courses").json["courses"]
    assert [(course["course_id"], course["capacity"]) for course in listed] == [
        (ONE["course_id"], None),
        (TWO["course_id"], 1),
    ]


@pytest.mark.parametrize(
    ("media_type", "body", "where"),
    [
        ("application/x-ndjson", f'{json.dumps(ONE)}\n\n{{"course_id": 5}}\n{{', [(3, "course_id", "type"), (4, "", "json")]),
        ("application/x-ndjson", f"{json.dumps(ONE)}\n{json.dumps(ONE)}", [(2, "course_id", "duplicate")]),
        ("application/json", json.dumps([ONE, {}]), [("/1/course_id", "course_id", "required")]),
        ("application/json", json.dumps({"courses": [ONE, 5]}), [("/courses/1", "", "type")]),
        ("application/json", json.dumps([ONE, ONE]), [("/1/course_id", "course_id", "duplicate")]),
        ("application/json", "[", [(1, "", "json")]),
        ("application/json", json.dumps({"courses": [ONE], "limit": 5}), [("/courses", "courses", "type")]),
        ("application/json", json.dumps({"courses": 5}), [("/courses", "courses", "type")]),
        ("application/json", "5", [("/courses", "courses", "type")]),
    ],
)  # fmt: skip
def test_one_bad_course_among_many_stops_them_all_and_is_named(http, media_type, body, where):
    response = http.simulate_post("/courses", body=body, headers={"Content-Type": media_type})

    assert response.status_code == 400
    assert [
        (bad.get("line") or bad.get("pointer"), bad["field"], bad["rule"])
        for bad in response.json["errors"]
    ] == where
    assert http.simulate_get("/courses").json == {"courses": [], "next": None}


@pytest.mark.parametrize("body", ["{}\n" * 150, "{\n" * 150])
def test_the_first_hundred_bad_ones_are_named(http, body):
    response = http.simulate_post(
        "/courses", body=body, headers={"Content-Type": "application/x-ndjson"}
    )

    assert [bad["line"] for bad in response.json["errors"]] == list(range(1, 101))


def test_more_than_are_taken_at_once_is_413(http):
    lines = "\n".join(f'{{"course_id":"course-v1:a+b+{number}"}}' for number in range(10_001))

    response = http.simulate_post(
        "/courses", body=lines, headers={"Content-Type": "application/x-ndjson"}
    )

    assert response.status_code == 413
    assert "10000" in response.json["detail"]


def patch(http, body):
    return http.simulate_patch("/courses", json=body)


def test_members_that_are_not_named_stay(http):
    full = {**TWO, "course_name": "Algebra", "enrollment_start": "2027-01-01T00:00:00Z"}
    http.simulate_post("/courses", json=[full, ONE])

    answer = patch(http, [{"course_id": TWO["course_id"], "enrollment_start": None}, ONE])

    assert answer.json == {
        "saved": 2,
        "created": [],
        "changed": [
            {
                "course_id": TWO["course_id"],
                "before": {"enrollment_start": "2027-01-01T00:00:00Z"},
                "after": {"enrollment_start": None},
            }
        ],
        "unchanged": 1,
    }
    stored = http.simulate_get(f"/courses/{TWO['course_id']}").json
    assert (stored["course_name"], stored["capacity"]) == ("Algebra", 1)
    assert stored["enrollment_start"] is None


def test_a_course_that_is_new_is_created_with_the_defaults(http):
    answer = patch(http, {**TWO, "invite_only": True})

    assert answer.json["created"] == [TWO["course_id"]]
    assert http.simulate_get(f"/courses/{TWO['course_id']}").json["invite_only"] is True


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_the_service_shows_is_taken_back_and_changes_nothing(http, method):
    modes = [{"slug": "verified", "min_price": 49}, {"slug": "audit"}]
    http.simulate_post("/courses", json=[{**ONE, "course_modes": modes, "cohorts": ["A"]}, TWO])
    page = http.simulate_get("/courses").json
    one = http.simulate_get(f"/courses/{ONE['course_id']}").json

    for body, count in ((page, 2), (page["courses"], 2), (one, 1)):
        answer = http.simulate_request(method, "/courses", json=body)

        nothing = {"created": [], "changed": [], "unchanged": count} if method == "PATCH" else {}
        assert answer.json == {"saved": count, **nothing}
    assert http.simulate_get("/courses").json == page


def test_one_bad_patch_stops_them_all(http):
    http.simulate_post("/courses", json=[TWO])

    answer = patch(
        http, [{**TWO, "capacity": 9}, {"course_id": "x", "capacity": 1}, {"capacity": 2}]
    )

    assert [bad["pointer"] for bad in answer.json["errors"]] == ["/1/course_id", "/2/course_id"]
    assert http.simulate_get(f"/courses/{TWO['course_id']}").json["capacity"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", f"/courses/{KEY}", {"course_name": "Algebra", "capacity": 2, "cohorts": ["a"]}),
        ("PATCH", f"/courses/{KEY}", {"course_name": "Algebra"}),
        ("PATCH", f"/courses/{KEY}", {}),
        ("POST", "/courses", [{"course_id": KEY, "course_name": "Algebra", "capacity": 2, "cohorts": ["a"]}]),
    ],
)  # fmt: skip
def test_a_write_that_changes_nothing_leaves_caches_and_batches_alone(
    sessions, http, method, path, body
):
    whole = {"course_name": "Algebra", "capacity": 2, "cohorts": ["a"]}
    assert http.simulate_put(f"/courses/{KEY}", json=whole).status_code == 201

    def marks():
        with sessions.begin() as session:
            loaded = courses.load_for_batch(session, [KEY])
            return course_edition.edition(session), loaded[KEY].revision

    before = marks()
    assert http.simulate_request(method, path, json=body).status_code == 200
    assert marks() == before
    assert http.simulate_patch(f"/courses/{KEY}", json={"capacity": 3}).status_code == 200
    assert marks() > before
