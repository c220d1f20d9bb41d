"""Bodies in the three media types of Open edX."""

import json
from urllib.parse import urlencode

import falcon.asgi
import pytest
from falcon import testing
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.http.openedx_body import (
    MAX_FORM_FIELDS,
    joined_values,
    last_values,
    parse_openedx_body,
    read_openedx_body,
)
from api_gateway.http.problems import Problem
from schemas.requests.form_members import members_of_form
from schemas.requests.parsed import InvalidRequest
from schemas.requests.schema import load_single
from tests.support.form_bodies import form_texts, media_of, multipart, multipart_header

KEY = "course-v1:edX+DemoX+2026"
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = multipart_header()["Content-Type"]
FILE = (
    '--a-boundary\r\nContent-Disposition: form-data; name="user"; filename="a.txt"\r\n\r\nann\r\n'
)

#: Texts that a form can carry: no line ends, which forms write in their own way.
texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
attributes = st.lists(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("namespace", "name", "value"), texts)),
    max_size=3,
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(["ann", "Ännchen", "a b", "1.0", "", None]) | texts,
        "email": st.sampled_from(["ann@example.org", "no", None]),
        "course_id": st.sampled_from([KEY, "edX/DemoX/2026", "no key"]),
        "course_details": st.sampled_from([{"course_id": KEY, "email_opt_in": True}, {}, None]),
        "mode": st.sampled_from(["verified", None]) | texts,
        "is_active": st.sampled_from([True, False, None]),
        "force_enrollment": st.sampled_from([True, False, None]),
        "email_opt_in": st.sampled_from([True, False, None]),
        "enrollment_attributes": attributes | st.none(),
        "cohort": texts | st.none(),
        "requested_at": st.sampled_from(["2026-01-02T03:04:05Z", "yesterday", None]),
    },
)


def request_of(content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    return testing.create_asgi_req(headers=headers)


def parse(content_type, body, of_form=last_values):
    return parse_openedx_body(request_of(content_type), body, of_form)


def loaded(content_type, body):
    """What a request asks for, or the places of what is wrong with it."""
    try:
        return load_single(parse(content_type, body, members_of_form)).request
    except InvalidRequest as error:
        return sorted((str(found["field"]), str(found["rule"])) for found in error.findings)


@given(requests)
def test_the_three_media_types_ask_for_the_same(body):
    asked = [loaded(*media) for media in media_of(body).values()]
    assert asked == [asked[0]] * len(asked)


@given(st.dictionaries(texts.filter(lambda name: '"' not in name and "\\" not in name), texts))
def test_the_fields_of_both_forms_are_their_texts(fields):
    assert parse(URLENCODED, urlencode(fields).encode()) == fields
    if fields:
        assert parse(MULTIPART, multipart(fields)) == fields


class Reader:
    """Answers with the members that were read."""

    async def on_post(self, req, resp):
        resp.media = await read_openedx_body(req, 100)

    on_delete = on_post


async def tell(_req, resp, problem, _params):
    resp.status, resp.media = problem.status, problem.body()


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize(
    ("content_type", "body", "status", "read"),
    [
        (None, b"", 200, {}),
        ("application/JSON; charset=utf-8", b'{"email": "a@b.example"}', 200, None),
        (URLENCODED, b"email=a%40b.example", 200, None),
        (MULTIPART, multipart({"email": "a@b.example"}), 200, None),
        (None, b"email=a", 415, "unsupported_media_type"),
        ("text/plain", b"email=a", 415, "unsupported_media_type"),
        ("application/json", b"[]", 400, "invalid_body"),
        ("application/json", b"{", 400, "malformed_json"),
        (URLENCODED, b"x" * 101, 413, "too_large"),
    ],
)
def test_a_body_with_one_object_is_read_in_every_media_type(
    method, content_type, body, status, read
):
    app = falcon.asgi.App()
    app.add_error_handler(Problem, tell)
    app.add_route("/", Reader())
    headers = {} if content_type is None else {"Content-Type": content_type}

    answer = testing.simulate_request(app, method, "/", body=body, headers=headers)

    assert answer.status_code == status
    if status == 200:
        assert answer.json == ({"email": "a@b.example"} if read is None else read)
    else:
        assert answer.json["code"] == read


@pytest.mark.parametrize("kind", [None, "application/json", "Application/JSON", URLENCODED])
def test_an_empty_body_is_an_empty_object(kind):
    assert parse(kind, b"") == {}


@pytest.mark.parametrize(
    ("word", "read"),
    [
        *(("true", True), ("True", True), ("TRUE", True)),
        *(("false", False), ("False", False), ("FALSE", False)),
        *(("null", None), ("", None), ("yes", "yes"), ("1", "1")),
    ],
)
@pytest.mark.parametrize("name", ["is_active", "force_enrollment", "email_opt_in"])
def test_booleans_of_a_form_are_words(name, word, read):
    assert members_of_form([(name, word)]) == {name: read}


def test_course_details_of_a_form_are_json_or_dotted_names():
    details = {"course_id": KEY}
    for fields in (
        {"course_details": json.dumps(details)},
        {"course_details.course_id": KEY},
        {"course_details": '{"course_id": "other"}', "course_details.course_id": KEY},
    ):
        assert members_of_form(fields.items()) == {"course_details": details}


def test_a_repeated_field_is_its_last_value_or_all_of_them():
    body = b"courses=a&courses=b&action=enroll"
    assert parse(URLENCODED, body) == {"courses": "b", "action": "enroll"}
    assert parse(URLENCODED, body, joined_values) == {"courses": "a,b", "action": "enroll"}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (MULTIPART, b"no form"),
        (MULTIPART, multipart({"user": "ann"})[:-20]),
        (MULTIPART, multipart({f"f{i}": "" for i in range(MAX_FORM_FIELDS + 1)})),
        (MULTIPART, multipart({"user": "ann"}).replace(b"ann", b"\xff")),
        (MULTIPART, multipart({"x" * 10_000: "ann"})),
        ("multipart/form-data", multipart({"user": "ann"})),
        (f"multipart/form-data; boundary={'x' * 71}", multipart({"user": "ann"})),
        (URLENCODED, b"user=%ff"),
        (URLENCODED, "user=ä".encode()),
        (URLENCODED, b"a=1&" * (MAX_FORM_FIELDS + 1)),
    ],
)
def test_what_is_no_form_is_400(content_type, body):
    with pytest.raises(Problem) as raised:
        parse(content_type, body)
    assert (raised.value.status, raised.value.code) == (400, "invalid_body")


def test_a_file_in_a_form_is_415():
    with pytest.raises(Problem) as raised:
        parse(MULTIPART, multipart(form_texts({"mode": "audit"}), more=FILE))
    assert raised.value.status == 415
    assert "'user' is a file" in str(raised.value)
