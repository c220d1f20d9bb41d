import asyncio
import gzip
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple

import falcon.asgi
import orjson
import pytest
from falcon import testing

from api_gateway.http.disconnects import track_disconnects
from api_gateway.http.problems import Problem
from api_gateway.http.request_body import check_is_json, parse_json, read_body
from api_gateway.http.responses import dumps, write_json
from enrollment.domain.codes import Code


async def read_json(req):
    check_is_json(req)
    return parse_json(await read_body(req, 1_000))


class Echo:
    """Answers with what was read."""

    def __init__(self, read):
        self._read = read

    async def on_post(self, req, resp):
        got = await self._read(req)
        write_json(resp, got.decode() if isinstance(got, bytes) else got, HTTPStatus.ACCEPTED)


async def tell(req, resp, problem, params):
    write_json(resp, problem.body(), problem.status, "application/problem+json")


def app_with(read):
    app = falcon.asgi.App()
    app.add_error_handler(Problem, tell)
    app.add_route("/", Echo(read))
    return app


def post(read, body=b"", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return testing.simulate_post(app_with(read), "/", body=body, headers=named)


async def exchange(app, events, headers=()):
    """Play a client that sends these events and then waits."""
    sent = []
    incoming = list(events)

    async def receive():
        return incoming.pop(0) if incoming else await asyncio.Event().wait()

    async def send(event):
        sent.append(event)

    scope = testing.create_scope(path="/", method="POST", headers=dict(headers))
    await app(scope, receive, send)
    return sent[0]["status"], orjson.loads(sent[1]["body"])


def body_event(body, *, more):
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/JSON",
        "application/json; charset=UTF-8",
        'application/json;charset="utf-8"',
    ],
)
def test_json_is_read_whatever_the_case_of_its_type(content_type):
    answer = post(read_json, b'{"a": 1}', Content_Type=content_type)

    assert (answer.status_code, answer.json) == (202, {"a": 1})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "", "application/json; charset=latin-1", "application/jsonx"]
)
def test_other_types_are_refused(content_type):
    answer = post(read_json, b"{}", Content_Type=content_type)

    assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type")
    assert (content_type or "Content-Type, which is missing") in answer.json["message"]


def test_json_that_is_broken_says_where():
    answer = post(read_json, b'{"a": 1,\n "a": 2}', Content_Type="application/json")

    assert (answer.status_code, answer.json["code"]) == (400, "malformed_json")
    assert (
        answer.json["detail"] == "JSON parse error - Duplicate key 'a': line 2 column 2 (char 10)"
    )
    assert answer.json["errors"] == [
        {
            "line": 2,
            "column": 2,
            "field": "",
            "value": None,
            "rule": "json",
            "message": (
                "The body is not valid JSON (Duplicate key 'a'): correct it and send it again."
            ),
        }
    ]


def test_a_body_up_to_the_limit_is_read():
    assert post(lambda req: read_body(req, 4), b"four").json == "four"


def test_a_longer_body_is_refused_by_its_announced_length():
    answer = post(lambda req: read_body(req, 4), b"fives")

    assert (answer.status_code, answer.json["code"]) == (413, "too_large")
    assert "4 bytes" in answer.json["detail"]


def test_a_longer_body_without_announced_length_is_refused_while_it_comes():
    app = app_with(lambda req: read_body(req, 4))
    events = [body_event(b"abc", more=True), body_event(b"de", more=True)]

    status, problem = asyncio.run(exchange(app, events))

    assert (status, problem["code"]) == (413, "too_large")


def test_a_body_in_chunks_is_read_whole():
    app = track_disconnects(app_with(lambda req: read_body(req, 9)))
    events = [body_event(b"ab", more=True), body_event(b"cd", more=False)]

    assert asyncio.run(exchange(app, events)) == (202, "abcd")


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "9"}])
def test_a_body_that_was_broken_off_is_not_taken_for_a_whole_one(headers):
    app = track_disconnects(app_with(lambda req: read_body(req, 9)))
    events = [body_event(b"ab", more=True), {"type": "http.disconnect"}]

    status, problem = asyncio.run(exchange(app, events, headers))

    assert (status, problem["code"]) == (400, "incomplete_body")


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "9"}])
def test_a_body_that_does_not_come_is_not_waited_for_without_end(headers):
    app = app_with(lambda req: read_body(req, 9, seconds=0.01))

    status, problem = asyncio.run(exchange(app, [body_event(b"ab", more=True)], headers))

    assert (status, problem["code"]) == (408, "request_timeout")


def test_gzip_is_unpacked_where_it_may_be():
    packed = gzip.compress(b"text")

    assert (
        post(lambda req: read_body(req, 90, gzip=True), packed, Content_Encoding="GZIP").json
        == "text"
    )
    assert post(lambda req: read_body(req, 90), b"x", Content_Encoding="identity").json == "x"


@pytest.mark.parametrize(
    ("body", "encoding", "allowed", "status", "code"),
    [
        pytest.param(
            gzip.compress(b"x"), "gzip", False, 415, "unsupported_media_type", id="not-here"
        ),
        pytest.param(b"x", "br", True, 415, "unsupported_media_type", id="other"),
        pytest.param(b"x", "gzip", True, 400, "malformed_gzip", id="damaged"),
        pytest.param(gzip.compress(bytes(91)), "gzip", True, 413, "too_large", id="too-long"),
    ],
)
def test_other_encodings_are_refused(body, encoding, allowed, status, code):
    answer = post(lambda req: read_body(req, 90, gzip=allowed), body, Content_Encoding=encoding)

    assert (answer.status_code, answer.json["code"]) == (status, code)


class Point(NamedTuple):
    x: int
    code: Code


def test_values_of_ours_are_written_as_json():
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    value = MappingProxyType({"at": moment, "p": Point(1, Code.ENROLLED)})

    assert dumps(value) == b'{"at":"2026-01-02T03:04:05.000006Z","p":[1,"enrolled"]}'


def test_what_is_not_made_for_json_is_a_bug():
    with pytest.raises(TypeError):
        dumps(object())


def test_other_scopes_pass_through():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["type"], receive))

    asyncio.run(track_disconnects(app)({"type": "lifespan"}, "receive", None))

    assert seen == [("lifespan", "receive")]
