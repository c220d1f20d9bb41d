"""Bodies that are no good are told so before anything is taken in, and never with a 5xx."""

import json

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.gateway import AUDIT, fresh

KNOWN = "course-v1:Known+To+All"
GOOD = {"user": "ann", "course_id": KNOWN}
PROBLEM = {"type", "title", "status", "detail", "code", "message"}


@pytest.fixture(scope="module", autouse=True)
def known_course(small):
    small.course(AUDIT, course_id=KNOWN)


def send(gateway, body, **headers):
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    headers = {"Content-Type": "application/json"} | named
    return gateway.post("enrollment", gateway.server, body=body, headers=headers)


def whole(**members):
    return json.dumps(GOOD | members).encode()


def assert_problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json) >= PROBLEM
    assert answer.json["status"] == status
    assert answer.json["message"] == answer.json["detail"]
    assert len(answer.content) < 20_000


NOT_HONEST = {
    "spaces": b"  \n ",
    "half": b'{"user": "ann"',
    "two": b'{"user": "ann"} {}',
    "NaN": b'{"user": NaN}',
    "Infinity": b'{"user": -Infinity}',
    "huge number": b'{"user": 1e999}',
    "huge integer": b'{"user": ' + b"9" * 5000 + b"}",
    "integer beyond 64 bits": b'{"user": 9223372036854775808}',
    "single quotes": b"{'user': 'ann'}",
    "trailing comma": b'{"user": "ann",}',
    "comment": b'{"user": "ann"} // yes',
    "duplicate key": b'{"user": "ann", "user": "bob", "course_id": "course-v1:Known+To+All"}',
    "hidden duplicate": b'{"user": "ann", "us\\u0065r": "bob"}',
    "nested duplicate": b'{"a": {"b": 1, "b": 2}}',
    "NUL": b'{"user": "an\\u0000n"}',
    "raw NUL": b'{"user": "an\x00n"}',
    "lone surrogate": b'{"user": "\\ud800"}',
    "lone low surrogate": b'{"user": "\\udc00x"}',
    "not UTF-8": b'{"user": "caf\xe9"}',
    "UTF-16": '{"user": "ann"}'.encode("utf-16"),
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 60 + b"1" + b"}" * 60,
}


@pytest.mark.parametrize("body", NOT_HONEST.values(), ids=NOT_HONEST)
def test_what_is_not_honest_json_is_400_and_says_where(small, body):
    answer = send(small, body)
    assert_problem(answer, 400)
    assert answer.json["code"] == "malformed_json"
    assert answer.json["detail"].startswith("JSON parse error - ")
    assert {"line", "column", "rule"} <= set(answer.json["errors"][0])


NO_OBJECTS = [b"null", b"true", b"1", b'"text"', b"[]", b'[{"user": "ann"}]', b"1.5"]


@pytest.mark.parametrize("body", NO_OBJECTS)
def test_what_is_no_object_is_400(small, body):
    answer = send(small, body)
    assert_problem(answer, 400)
    assert answer.json["errors"]


WRONG = {
    "user": [1, True, ["ann"], {"a": 1}, "a" * 256, "a,b", "a/b", "a\nb", "a\u2028b", "😀"],
    "email": [1, True, ["a@b.org"], {"a": 1}, "no-at", "a@b@c", "a" * 250 + "@x.org", "a b@c.org"],
    "course_id": [
        1,
        True,
        [KNOWN],
        {"id": KNOWN},
        "x",
        "a+b+c",
        "course-v1:a+b",
        "a/b/c/",
        "course-v1:a+b+" + "c" * 255,
        KNOWN + "\n",
    ],
    "course_details": [1, "x", [KNOWN], True, {"course_id": 7}, {"course_id": [1]}],
    "mode": [1, True, [], {}, "m" * 101],
    "is_active": ["true", 0, 1, [], {}, 1.0],
    "force_enrollment": ["true", 0, 1, [], {}],
    "cohort": [1, [], {}, "c" * 256],
    "requested_at": [
        1,
        True,
        [],
        "yesterday",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-13-01T00:00:00Z",
        "9" * 100,
        "0001-01-01T00:00:00+23:59",
    ],
    "enrollment_attributes": [
        1,
        "x",
        {},
        [1],
        [None],
        [[]],
        [{}],
        [{"namespace": 1, "name": "b", "value": "c"}],
        [{"namespace": "a", "name": "b", "value": None}],
        [{"namespace": "a", "name": "b", "value": "c" * 256}],
        [{"namespace": "a", "name": "b", "value": "c"}] * 101,
    ],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG.items() for value in values]
)
def test_a_value_that_is_none_is_400_and_named(small, field, value):
    answer = send(small, whole(**{field: value}))
    assert_problem(answer, 400)
    assert answer.json["code"] == "invalid_row"
    found = answer.json["errors"][0]
    assert str(found["field"]).split(".")[0] in {field, "course_id"}
    assert found["rule"]
    assert len(str(found["value"])) <= 100


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "text/json",
        "application/xml",
        "application/jsonx",
        "application/json; charset=utf-16",
        "application/x-ndjson",
        "nonsense",
    ],
)
def test_another_media_type_is_415_and_says_what_would_do(small, content_type):
    answer = send(small, whole(), Content_Type=content_type)
    assert_problem(answer, 415)
    assert "application/json" in answer.json["detail"]


def test_a_packed_body_is_415(small):
    assert_problem(send(small, whole(), Content_Encoding="gzip"), 415)


def test_a_body_that_is_too_long_is_413_and_says_the_limit(small):
    answer = send(small, whole(what="x" * 300_000))
    assert_problem(answer, 413)
    assert "256000" in answer.json["detail"]


def test_nothing_of_all_this_was_taken_in(small):
    send(small, whole(user=fresh("ann"), mode=7))
    assert all(
        one["kind"] == "bulk" or one["counts"]["total"] == 1
        for one in small.get("submissions", small.server).json["submissions"]
    )


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=300), st.just(KNOWN)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=8,
)
near = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(["ann", "bob"]) | values,
        "email": st.just("ann@example.org") | values,
        "course_id": st.just(KNOWN) | values,
        "course_details": st.just({"course_id": KNOWN}) | values,
        "mode": st.sampled_from(["audit", "verified"]) | values,
        "is_active": st.booleans() | values,
        "force_enrollment": st.booleans() | values,
        "cohort": values,
        "requested_at": st.datetimes().map(lambda at: at.isoformat() + "Z") | values,
        "enrollment_attributes": st.lists(
            st.fixed_dictionaries({"namespace": values, "name": values, "value": values}),
            max_size=2,
        )
        | values,
    },
)
bodies = st.one_of(
    near.map(lambda body: json.dumps(body).encode()),
    values.map(lambda body: json.dumps(body).encode()),
    st.binary(max_size=200),
)
STATUSES = {202, 400, 403, 404, 406, 413, 415}


@hypothesis_settings(max_examples=250)
@given(body=bodies, who=st.sampled_from(["server", "ann", "staff"]))
def test_whatever_comes_gets_an_honest_answer(small, body, who):
    headers = {"server": small.server, "ann": small.learner("ann"), "staff": small.staff}[who]
    headers = headers | {"Content-Type": "application/json"}
    answer = small.post("enrollment", body=body, headers=headers)
    assert answer.status_code in STATUSES, answer.text
    if answer.status_code not in {202, 404}:
        assert set(answer.json) >= PROBLEM


@hypothesis_settings(max_examples=150)
@given(body=near)
def test_whatever_is_taken_in_can_be_judged(gateway, body):
    headers = gateway.admin | {"Content-Type": "application/json"}
    answer = gateway.post("enrollment", body=json.dumps(body).encode(), headers=headers)
    assert answer.status_code in STATUSES, answer.text
    if answer.status_code == 202:
        gateway.work()
        status = gateway.get(answer.headers["location"], gateway.admin)
        assert status.json["state"] == "done"
        assert status.json["outcome"].get("reason") != "internal_error"
