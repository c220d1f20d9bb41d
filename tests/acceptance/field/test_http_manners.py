"""HTTP as other clients write it: words in any case, a raw plus, repeated requests."""

import json
from urllib.parse import urlsplit

import pytest

from tests.support.field_client import COURSES
from tests.support.raw_http import Raw, request, status_of
from tests.support.service_processes import needs_proc

pytestmark = needs_proc

C1 = COURSES["C1"]
API = "/api/enrollment/v1"
OTHER_FORMS = [
    '{"course_id":"{{C1}}","user":"ann{{T}}"}',
    '{ "user": "ann{{T}}",\r\n\t"course_id" : "{{C1}}" }\n',
    '{"user":"\\u0061nn{{T}}","course_id":"{{C1}}"}',
]


def raw(field, *sent):
    """Sends a request byte by byte with the client's key; returns the answer."""
    key = f"Authorization: {field.http.headers['Authorization']}"
    with Raw(urlsplit(str(field.http.base_url)).port) as connection:
        return connection.send(request(*sent, key, "Connection: close")).read()


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("TEXT/CSV", "text/csv; charset=utf-8"),
        ("text/*", "text/csv; charset=utf-8"),
        ("TEXT/*;Q=1", "text/csv; charset=utf-8"),
        ("application/json;q=0.1, text/csv", "text/csv; charset=utf-8"),
        ("Application/X-NDJSON", "application/x-ndjson"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
    ],
)
def test_outcomes_in_the_type_that_is_asked_for(field, accept, content_type):
    sent = field.send("user,course_id\nann{{T}},{{C1}}\n")

    path = f"/submissions/{sent.submission['submission_id']}/outcomes"
    answer = field.http.get(path, headers={"Accept": accept})

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, content_type)


def test_a_wrong_key_is_refused_before_the_body(field):
    head = request(
        f"POST {API}/submissions",
        "X-Edx-Api-Key: wrong",
        "Content-Type: text/csv",
        "Content-Length: 1000000",
        "Expect: 100-continue",
    )
    with Raw(urlsplit(str(field.http.base_url)).port) as connection:
        assert status_of(connection.send(head).read()) == 401


@pytest.mark.parametrize("name", ["course_ids", "course_id"])
def test_a_raw_plus_in_a_query_is_a_plus_of_a_course_key(field, name):
    field.send("user,course_id\nann{{T}},{{C1}}\nann{{T}},{{C2}}\n")
    who = field.fill("&username=ann{{T}}")

    answer = raw(field, f"GET {API}/enrollments?{name}={C1}{who}")

    assert status_of(answer) == 200
    found = json.loads(answer.partition(b"\r\n\r\n")[2])["results"]
    assert [one["course_id"] for one in found] == [C1]


def test_a_raw_plus_in_the_option_of_a_file(field):
    answer = field.http.post(
        f"/submissions?course_id={C1}",
        content=field.fill("user\nann{{T}}\n"),
        headers={"Content-Type": "text/csv"},
    )

    assert answer.status_code == 202
    assert answer.json()["options"]["course_id"] == C1


@pytest.mark.parametrize("other", OTHER_FORMS, ids=["order", "white space", "escapes"])
def test_the_same_request_in_other_bytes_is_replayed(field, other):
    first, *_ = answers = [
        field.http.post(
            "/enrollment",
            content=field.fill(body),
            headers={"Content-Type": "application/json", "Idempotency-Key": field.word},
        )
        for body in ('{"user":"ann{{T}}","course_id":"{{C1}}"}', other, other)
    ]

    assert [answer.status_code for answer in answers] == [202] * 3, answers[1].text
    assert len({answer.json()["submission_id"] for answer in answers}) == 1
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers[1:]] == ["true"] * 2
    assert "Idempotency-Replayed" not in first.headers


@pytest.mark.parametrize(
    "other",
    [
        '{"user":"ann{{T}}","course_id":"{{C2}}"}',
        '{"user":"ann{{T}}","course_id":"{{C1}}","is_active":false}',
    ],
)
def test_another_request_is_not_replayed(field, other):
    for body, status in (('{"user":"ann{{T}}","course_id":"{{C1}}"}', 202), (other, 422)):
        answer = field.http.post(
            "/enrollment",
            content=field.fill(body),
            headers={"Content-Type": "application/json", "Idempotency-Key": field.word},
        )
        assert answer.status_code == status
